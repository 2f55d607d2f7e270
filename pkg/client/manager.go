package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Defaults of [Config].
const (
	DefaultLease        = 30 * time.Second
	DefaultPollInterval = 5 * time.Minute
	DefaultRetry        = 5 * time.Second
)

// maxReloads bounds how many secrets are read from the store at once.
const maxReloads = 8

// Config is what a [Manager] needs. Service, Source and IDs are required.
type Config struct {
	// Service is the name of the service, one subject token.
	Service string
	// Instance names this process; "" makes a name of the host, the process and
	// a random part.
	Instance string
	// Source is where secrets are read.
	Source Source
	// Fleet names the fleet of this process, one subject token. "" is none.
	Fleet string
	// IDs are the secrets to hold.
	IDs []secret.ID
	// CheckedAtUse are those of IDs that the process uses through a
	// [TokenAuthenticator], a [Keyring], a [Connector] and a [BearerTransport] only.
	// These check at each use whether the version may be used, so a process that
	// dies or is cut off delays the retirement of its versions for no longer than
	// the fence. [Manager.Secret], [Manager.Get] and [Manager.Subscribe] refuse these
	// secrets: a copy of a value is not checked.
	CheckedAtUse []secret.ID
	// Optional are those of CheckedAtUse that need not be there: while the store answers
	// that it has no such secret, their users refuse with an [AbsentError], and the
	// process runs. A first version is taken into use like any other. A secret that
	// cannot be read for another reason is an error as always.
	Optional []secret.ID
	// Reconfigure returns the secrets to hold after a [Manager.Reload], as they are
	// configured now. Nil makes Reload fail.
	Reconfigure func(context.Context) (Set, error)
	// Bus brings notifications and takes the records of what this process uses. Nil
	// works by polling only, and then no rotation can see which versions it uses.
	Bus Bus
	// Join says how long New waits until the bus has stored that the process uses
	// its secrets, if one of them is not checked at use. "" waits for a minute,
	// starts anyway and logs secret.not_joined; [JoinRequired] waits until ctx ends.
	Join string
	// Lease is for how long the process counts as live without a renewal, in whole
	// seconds; it renews after each third, or each third of the shortest fence if that
	// is less. 0 means DefaultLease.
	Lease time.Duration
	// PollInterval is how often every secret is read without a notification, less
	// up to a tenth. The reads are spread over the interval. 0 means
	// DefaultPollInterval, negative means never.
	PollInterval time.Duration
	// Retry is how soon a reload that failed is tried again; it doubles up to a
	// minute. 0 means DefaultRetry.
	Retry time.Duration
	// HookTimeout bounds each call of a hook. 0 means DefaultHookTimeout.
	HookTimeout time.Duration
	// Fence is how long a version may be used without being confirmed by the bus or
	// the primary of the store, see [FenceError]. 0 means that of the secret's spec.
	Fence time.Duration
	// Lookup finds environment variables: <ID>_TTL_SECONDS sets for how long a
	// value counts as fresh after the store was asked; it is asked again a margin
	// before. Nil means os.LookupEnv.
	Lookup func(name string) (string, bool)

	// Nil means slog.Default and the global providers.
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

// Manager holds the current version of every secret of a service. It is safe
// for concurrent use.
type Manager struct {
	cfg     Config
	log     *slog.Logger
	tracer  trace.Tracer
	meters  meters
	members atomic.Pointer[members]
	// reloading is held by Reload. endings are the ends of uses that are not on record yet.
	reloading sync.Mutex
	endings   struct {
		sync.Mutex

		uses map[secret.ID]events.Use
	}
	started time.Time
	// incarnation names this process among all that had its instance name.
	incarnation string
	presence    presence

	slots   chan struct{}   // bounds reloads
	dirty   chan struct{}   // a record says something new
	wake    chan struct{}   // something has to be looked at sooner
	unheard chan struct{}   // notifications may have been missed
	work    context.Context //nolint:containedctx // the life of the goroutines, ended by Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	stop    func() // ends the subscription
	// unmeter ends the metrics that are computed when they are collected.
	unmeter func()
}

// meters are the metrics of a Manager. Each carries the id of its secret, and none
// a version: the number of series is bounded by the number of secrets.
type meters struct {
	access, near, rotated, failed, panics, fenced, retired, hooks metric.Int64Counter
	stale                                                         metric.Int64UpDownCounter
	latency                                                       metric.Float64Histogram
}

// scope names the meter and the tracer.
const scope = "github.com/tradepulse/rotator/pkg/client"

// New returns a Manager that holds a value of every secret. When it cannot get
// one, the error names every secret that is missing, where it was looked for,
// and what to do.
func New(ctx context.Context, cfg Config) (*Manager, error) {
	cfg.IDs = slices.Compact(slices.Sorted(slices.Values(cfg.IDs)))
	cfg.CheckedAtUse = slices.Compact(slices.Sorted(slices.Values(cfg.CheckedAtUse)))
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	cfg = cfg.withDefaults()
	m := &Manager{
		cfg: cfg, log: cfg.Logger, tracer: cfg.TracerProvider.Tracer(scope), started: time.Now(), incarnation: newIncarnation(), presence: newPresence(),
		slots: make(chan struct{}, maxReloads), dirty: make(chan struct{}, 1), wake: make(chan struct{}, 1), unheard: make(chan struct{}, 1),
		stop: func() {}, unmeter: func() {},
	}
	m.work, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := m.instruments(cfg.MeterProvider.Meter(scope)); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	entries := make(map[secret.ID]*entry, len(cfg.IDs))
	for _, id := range cfg.IDs {
		entries[id] = m.newEntry(id, cfg.Source, slices.Contains(cfg.CheckedAtUse, id), slices.Contains(cfg.Optional, id))
	}
	m.members.Store(newMembers(entries))
	unmeter, err := m.gauges(cfg.MeterProvider.Meter(scope))
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	m.unmeter = unmeter
	if err := m.start(ctx); err != nil {
		m.cancel()
		m.stop()
		m.unmeter()
		m.wg.Wait()
		return nil, errors.Join(err, m.leave(context.WithoutCancel(ctx)))
	}
	return m, nil
}

// validate returns what is wrong with the configuration.
func (c Config) validate() error {
	if err := events.ValidToken(c.Service); err != nil {
		return fmt.Errorf("service %w", err)
	}
	if err := events.ValidToken(c.Fleet); c.Fleet != "" && err != nil {
		return fmt.Errorf("fleet %w", err)
	}
	if c.Source == nil || len(c.IDs) == 0 {
		return errors.New("Source and IDs are required")
	}
	if c.Fence < 0 {
		return fmt.Errorf("the fence %s is negative: leave it out for that of each secret", c.Fence)
	}
	if c.Join != "" && c.Join != JoinRequired {
		return fmt.Errorf("join is %q, want %s or nothing", c.Join, JoinRequired)
	}
	for _, id := range c.CheckedAtUse {
		if !slices.Contains(c.IDs, id) {
			return fmt.Errorf("%s is checked at use and not among IDs", id)
		}
	}
	return validateOptional(c.Optional, c.IDs, c.CheckedAtUse)
}

// withDefaults returns c with its zero values replaced. Negative values stay: they
// switch something off.
func (c Config) withDefaults() Config {
	if c.Instance == "" {
		c.Instance = instanceName()
	}
	c.HookTimeout = cmp.Or(c.HookTimeout, DefaultHookTimeout)
	c.Lease, c.PollInterval, c.Retry = cmp.Or(c.Lease, DefaultLease), cmp.Or(c.PollInterval, DefaultPollInterval), cmp.Or(c.Retry, DefaultRetry)
	if c.Lookup == nil {
		c.Lookup = os.LookupEnv
	}
	c.Logger, c.MeterProvider, c.TracerProvider = telemetry.Logger(c.Logger), telemetry.Meters(c.MeterProvider), telemetry.Tracers(c.TracerProvider)
	return c
}

// instanceName returns a name that no other process has.
func instanceName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	host = strings.Map(func(r rune) rune {
		if events.ValidToken(string(r)) != nil {
			return '-'
		}
		return r
	}, host)
	return fmt.Sprintf("%s-%d-%s", host[:min(len(host), 30)], os.Getpid(), strings.ToLower(rand.Text()[:6]))
}

// instruments makes the metrics. They have the names of the Python client's.
func (m *Manager) instruments(meter metric.Meter) error {
	i := telemetry.New(meter)
	m.meters.access = i.Counter("secret.access", "{read}", "Reads of a secret, by how it was read.")
	m.meters.near = i.Counter("secret.near_expiry", "{version}", "Cached versions found near their end.")
	m.meters.rotated = i.Counter("secret.rotated", "{version}", "Fresh versions taken into use.")
	m.meters.failed = i.Counter("secret.reload.failures", "{reload}", "Reloads that left the old version in use.")
	m.meters.hooks = i.Counter("secret.hook.failures", "{call}", "Calls of hooks that refused a version or panicked.")
	m.meters.latency = i.Histogram("secret.reload.latency", "s", "Time from the announcement of a version to its use.")
	m.meters.stale = i.UpDownCounter("secret.stale", "{version}", "Versions served although the store could not be asked since their end.")
	m.meters.panics = i.Counter("secret.panics", "{panic}", "Panics of hooks, of the source and of the bus that were recovered, by where.")
	m.meters.fenced = i.Counter("secret.fenced", "{use}", "Uses that were refused because the version was not confirmed.")
	m.meters.retired = i.Counter("secret.retired_used", "{use}", "Uses of versions after they were retired. They are refused.")
	return i.Err()
}

// start subscribes, joins, loads everything, and begins to report. It subscribes
// first: what is announced while the first values are read waits in the reload
// machines. After an error the caller ends what has begun.
func (m *Manager) start(ctx context.Context) error {
	if err := m.eachJoined((*entry).configure); err != nil {
		return m.eachJoined(func(e *entry) error { return e.first(ctx) }) // names what else is missing
	}
	if m.cfg.Bus == nil {
		m.log.LogAttrs(ctx, slog.LevelWarn, "secret.poll_only", slog.String("service", m.cfg.Service), slog.Duration("every", m.cfg.PollInterval),
			slog.String("message", "no bus is configured: a rotation is noticed by polling, and this process cannot report what it runs"))
	} else {
		stop, err := m.cfg.Bus.SubscribeNotify(m.work, m.cfg.Service, m.notified)
		if err != nil {
			return fmt.Errorf("client: %w", err)
		}
		m.stop = stop
	}
	if err := m.join(ctx); err != nil {
		return err
	}
	if err := m.eachJoined(func(e *entry) error { return e.first(ctx) }); err != nil {
		return err
	}
	m.wg.Go(func() { m.keep("loop", m.loop) })
	if m.cfg.Bus != nil {
		m.wg.Go(func() { m.keep("report", m.report) })
		m.wg.Go(func() { m.keep("hear", m.hear) })
		m.renew()
	}
	return nil
}

// eachJoined calls f for every secret, maxReloads at a time. The error names every
// secret that f failed for, in the order of their ids.
func (m *Manager) eachJoined(f func(*entry) error) error {
	var mu sync.Mutex
	missing := map[secret.ID]error{}
	m.each(func(e *entry) {
		if err := f(e); err != nil {
			mu.Lock()
			defer mu.Unlock()
			missing[e.id] = err
		}
	})
	if len(missing) == 0 {
		return nil
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		errs = append(errs, missing[id])
	}
	return fmt.Errorf("client: %d of %d secrets cannot be resolved:\n%w", len(missing), len(m.cfg.IDs), errors.Join(errs...))
}

// lifetime returns the cached lifetime that the environment sets for a secret, 0
// for none.
func (m *Manager) lifetime(id secret.ID) (time.Duration, error) {
	name := secret.TTLVariable(string(id))
	text, ok := m.cfg.Lookup(name)
	if !ok {
		return 0, nil
	}
	d, err := secret.ParseTTLSeconds(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %s %w", store.ErrInvalid, name, err)
	}
	return d, nil
}

// remedy wraps the error of a secret that cannot be read: it says where the secret
// was looked for, and what to do. An error with a method Remedy knows better.
func remedy(id secret.ID, spec secret.Spec, err error) error {
	hint := "see the error"
	own, has := errors.AsType[interface {
		error
		Remedy() string
	}](err)
	switch {
	case has:
		hint = own.Remedy()
	case errors.Is(err, ErrNotConfigured):
		hint = "add it under secrets: in the configuration"
	case errors.Is(err, store.ErrNotFound):
		hint = fmt.Sprintf("write a first version at %q in the store %q, or set create: true and let rotator make one", spec.StorePath(), spec.Store)
	case errors.Is(err, store.ErrNoValue):
		hint = fmt.Sprintf("the version at %q in the store %q has no value yet: write one", spec.StorePath(), spec.Store)
	case errors.Is(err, store.ErrAccessDenied):
		hint = fmt.Sprintf("let this service read %q in the store %q", spec.StorePath(), spec.Store)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		hint = fmt.Sprintf("see whether the store %q can be reached from here", spec.Store)
	case errors.Is(err, store.ErrInvalid):
		hint = "correct it, or unset it"
	}
	return fmt.Errorf("  %s: %w (%s)", id, err, hint)
}

// Secret returns a handle on one secret, the same for each call. It panics when the id is not among
// those the Manager was made with, or the secret is checked at use: that is a mistake in the program.
func (m *Manager) Secret(id secret.ID) *Handle {
	h := m.handle(id)
	if h.e.checked {
		panic(fmt.Sprintf("client: %s: %v", id, ErrCheckedAtUse))
	}
	return h
}

// handle is Secret for users that check at use.
func (m *Manager) handle(id secret.ID) *Handle {
	e, ok := m.find(id)
	if !ok {
		panic(fmt.Sprintf("client: %s is not among the secrets of this manager", id))
	}
	return &e.handle
}

// ErrUnknown is returned by [Manager.Get] for a secret that the Manager does
// not hold.
var ErrUnknown = errors.New("secret is not among those of this manager")

// ErrCheckedAtUse is returned to a caller that wants the value of a secret of
// [Config.CheckedAtUse].
var ErrCheckedAtUse = errors.New("secret is checked at use: a copy of its value is not, so take it out of CheckedAtUse")

// Get returns the current version of a secret. The error wraps [ErrUnknown],
// [ErrCheckedAtUse], or [ErrFence] beside the version that it is about: then the
// store was read once, and could not confirm the version. Use a [Handle] where reads
// are hot.
func (m *Manager) Get(ctx context.Context, id secret.ID) (Current, error) {
	e, ok := m.find(id)
	if !ok {
		return Current{}, fmt.Errorf("client: %w: %s", ErrUnknown, id)
	}
	if e.checked {
		return Current{}, fmt.Errorf("client: %s: %w", id, ErrCheckedAtUse)
	}
	e.access.reads[readName].inc()
	err := e.check(ctx)
	return *e.current.Load(), err
}

// Refresh asks the store for a secret now, takes a new version into use, and
// waits until that is done: for a service whose credentials were refused before
// the notification arrived. It does nothing when the store was asked within the
// last second. A reload that ctx stops waiting for continues.
func (m *Manager) Refresh(ctx context.Context, id secret.ID) error {
	e, ok := m.find(id)
	if !ok {
		return fmt.Errorf("client: %w: %s", ErrUnknown, id)
	}
	err := ctx.Err()
	if err == nil {
		err = e.refresh(ctx)
	}
	if err != nil {
		return fmt.Errorf("client: refresh %s: %w", id, err)
	}
	if s := e.status.Load(); s.Status == events.StatusFailed {
		return fmt.Errorf("client: refresh %s: %s", id, s.Reason)
	}
	return nil
}

// Instance returns the name under which this process reports.
func (m *Manager) Instance() string { return m.cfg.Instance }

// Close ends everything that runs for the Manager, waits for hooks that run, and
// then says on the bus that this process has ended its use of every secret. End the
// users before: authenticators, key rings, connectors and transports refuse from
// here on, and handles keep a last value that may be retired. A bus that cannot be
// reached is not an error.
func (m *Manager) Close(ctx context.Context) error {
	m.stop()
	m.cancel()
	m.wg.Wait()
	m.unmeter()
	m.observe(ctx)
	return m.leave(ctx)
}
