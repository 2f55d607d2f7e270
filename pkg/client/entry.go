package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Current is a version that is in use. It is a copy: holding it does not keep
// it current.
type Current struct {
	Version secret.Version
	Value   secret.Value
	// LoadedAt is when this process took it into use.
	LoadedAt time.Time
	// NotAfter is the end of its life, zero for none.
	NotAfter time.Time
	// Stale is set while the store could not be asked since NotAfter, or since
	// the cached lifetime that <ID>_TTL_SECONDS sets has ended.
	Stale bool
	// Expired is set once it has been stale for longer than [Config.MaxStale].
	Expired bool
}

// ErrExpired is wrapped by what is said about a version that has been stale for
// longer than [Config.MaxStale].
var ErrExpired = errors.New("the store could not be asked for too long")

// Err returns nil, or an error that wraps [ErrExpired] for a version that should
// not be used any more.
func (c *Current) Err() error {
	if !c.Expired {
		return nil
	}
	return fmt.Errorf("client: version %s: %w", c.Version.ID, ErrExpired)
}

// Handle reads one secret.
type Handle struct{ e *entry }

// Get returns the current version, also one that is stale or expired: one atomic
// load, whatever the store does. The result must not be changed.
func (h *Handle) Get() *Current {
	h.e.touch()
	return h.e.current.Load()
}

// ID returns the secret's id.
func (h *Handle) ID() secret.ID { return h.e.id }

// Change is a version that is about to be taken into use, or for a staged one to
// be accepted for verification.
type Change struct {
	ID      secret.ID
	Version secret.Version
	Value   secret.Value
	// Staged is true for a version that is not current yet: verify with it, do
	// not sign with it.
	Staged bool
	// AnnouncedAt is when the version was announced, zero when it was found
	// without an announcement.
	AnnouncedAt time.Time
}

// Hook takes a version into use. When it fails the version before stays in use,
// and the hook is called again later. It is not called concurrently for one
// secret.
type Hook func(ctx context.Context, c Change) error

// entry is one secret of a Manager.
type entry struct {
	m       *Manager
	id      secret.ID
	spec    secret.Spec
	ttl     time.Duration // cached lifetime that the environment sets, 0 for none
	current atomic.Pointer[Current]
	queued  atomic.Bool // a reload is waiting
	access  access
	handle  Handle
	// status is what the report says; it can be read while a reload hangs.
	status atomic.Pointer[events.Running]

	// due is when the loop has to attend to the entry, in nanoseconds; 0 means
	// never. Only the holder of mu writes it: 0 in lock, the next deadline in
	// release.
	due atomic.Int64

	mu       sync.Mutex // held by a reload and by what adds a hook; see lock
	hooks    []*Hook
	attended time.Time    // moments until then have been attended to
	seen     announcement // the newest that led to a read
	asked    time.Time    // when the store last answered
	tried    time.Time    // when it was last asked
	again    events.Event // the cause of what failed, for the next try
	retry    time.Duration
	warned   secret.VersionID // the version about which near expiry was said
	nextTry  time.Time
}

// announcement tells one from another, and which is newer.
type announcement struct {
	at      time.Time
	version secret.VersionID
}

// old reports whether an event is no newer than a, so that a replay costs
// nothing. A zero time is that of a look without an announcement.
func (a announcement) old(e events.Event) bool {
	return !e.Time.IsZero() && (e.Time.Before(a.at) || e.Time.Equal(a.at) && e.Data.VersionID == a.version)
}

func attrID(id secret.ID) attribute.KeyValue { return attribute.String("secret.id", string(id)) }

// lock takes the entry away from the loop, which must not wait for a store or a
// hook, until [entry.release].
func (e *entry) lock() {
	e.mu.Lock()
	e.due.Store(0)
}

// release sets the next deadline and wakes the loop. It wakes it after the
// unlock: a loop that runs before would find the entry locked and pass it over.
func (e *entry) release() {
	var due int64
	if at := e.attendAt(); !at.IsZero() {
		due = at.UnixNano()
	}
	e.due.Store(due)
	e.mu.Unlock()
	e.m.rouse()
}

func attrLogID(id secret.ID) slog.Attr { return slog.String("secret_id", string(id)) }

// first loads the first version.
func (e *entry) first(ctx context.Context) error {
	var err error
	if e.spec, err = e.m.cfg.Source.Spec(e.id); err != nil {
		return remedy(e.id, e.spec, err)
	}
	if e.ttl, err = e.m.lifetime(e.id); err != nil {
		return remedy(e.id, e.spec, err)
	}
	v, val, err := e.read(ctx, store.Selector{})
	if err != nil {
		return remedy(e.id, e.spec, err)
	}
	e.lock()
	defer e.release()
	e.install(ctx, v, val)
	return nil
}

// read reads one version. A Source that panics has failed to read.
func (e *entry) read(ctx context.Context, sel store.Selector) (v secret.Version, val secret.Value, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = e.m.panicked(ctx, "source", p, attrLogID(e.id))
		}
	}()
	return e.m.cfg.Source.Read(ctx, e.id, sel)
}

// install makes a version the one in use; the caller holds the lock.
func (e *entry) install(ctx context.Context, v secret.Version, val secret.Value) {
	now := time.Now()
	if have := e.current.Load(); have != nil && have.Stale {
		e.m.meters.stale.Add(ctx, -1, metric.WithAttributes(attrID(e.id)))
	}
	e.current.Store(&Current{Version: v, Value: val, LoadedAt: now, NotAfter: e.spec.NotAfter(secret.Metadata{}, v)})
	e.status.Store(&events.Running{SecretID: e.id, VersionID: v.ID, Status: events.StatusApplied, At: now})
	e.asked, e.retry, e.nextTry, e.again = now, 0, time.Time{}, events.Event{}
	e.m.meters.rotated.Add(ctx, 1, metric.WithAttributes(attrID(e.id)))
	e.m.log.LogAttrs(ctx, slog.LevelInfo, "secret.rotated", slog.String("secret_id", string(e.id)), slog.String("version_id", string(v.ID)))
}

// Subscribe adds a hook and calls it with the version in use before it returns.
// An error of that call is returned and the hook is not added. The returned
// function takes the hook away.
func (m *Manager) Subscribe(ctx context.Context, id secret.ID, hook Hook) (stop func(), err error) {
	e, ok := m.entries[id]
	if !ok {
		return nil, fmt.Errorf("client: %w: %s", ErrUnknown, id)
	}
	e.lock()
	defer e.release()
	c := e.current.Load()
	if err := m.call(ctx, hook, Change{ID: id, Version: c.Version, Value: c.Value}); err != nil {
		return nil, fmt.Errorf("client: subscribe to %s: %w", id, err)
	}
	p := &hook
	e.hooks = append(e.hooks, p)
	return func() {
		e.lock()
		defer e.release()
		for i, h := range e.hooks {
			if h == p {
				e.hooks = append(e.hooks[:i:i], e.hooks[i+1:]...)
				return
			}
		}
	}, nil
}

// call runs a hook. A hook that panics has failed.
func (m *Manager) call(ctx context.Context, hook Hook, c Change) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = m.panicked(ctx, "hook", p, attrLogID(c.ID))
		}
	}()
	return hook(ctx, c)
}

// notified takes a notification: a reason to look, at most one read of the
// store. What is older than an announcement seen before is dropped, and so is
// what is in use already.
func (m *Manager) notified(ctx context.Context, d events.Delivery) {
	e, ok := m.entries[d.Event.Data.SecretID]
	if !ok {
		return
	}
	if d.Event.Type == events.TypeStaged {
		m.reload(ctx, e, d.Event)
		return
	}
	if c := e.current.Load(); c != nil && c.Version.ID == d.Event.Data.VersionID {
		return
	}
	m.reload(ctx, e, d.Event)
}

// reload looks at a secret in a goroutine of its own, unless one is waiting to
// do so.
func (m *Manager) reload(ctx context.Context, e *entry, cause events.Event) {
	if cause.Type != events.TypeStaged && !e.queued.CompareAndSwap(false, true) {
		return
	}
	link := trace.SpanContextFromContext(ctx)
	m.wg.Go(func() {
		select {
		case m.slots <- struct{}{}:
			defer func() { <-m.slots }()
		case <-m.work.Done():
			return
		}
		rctx, span := m.tracer.Start(trace.ContextWithRemoteSpanContext(m.work, link), "secret.reload", trace.WithAttributes(attrID(e.id)))
		defer span.End()
		if cause.Type == events.TypeStaged {
			e.stage(rctx, cause)
		} else {
			e.refresh(rctx, cause)
		}
	})
}

// refresh reads the current version and takes it into use if it is another one.
func (e *entry) refresh(ctx context.Context, cause events.Event) {
	e.lock()
	defer e.release()
	e.queued.Store(false)
	if e.seen.old(cause) {
		return // replayed, or overtaken
	}
	have := e.current.Load()
	if have == nil {
		return // the first value is on its way; what it misses, the loop finds
	}
	if cause.Data.VersionID == have.Version.ID && e.status.Load().Status == events.StatusApplied {
		return // a reload that waited in front of this one has done it
	}
	e.tried = time.Now()
	v, val, err := e.read(ctx, store.Selector{})
	if err != nil {
		e.unread(ctx, err, cause)
		return
	}
	if !cause.Time.IsZero() {
		e.seen = announcement{cause.Time, cause.Data.VersionID}
	}
	if v.ID == have.Version.ID {
		if e.again.Type == events.TypeStaged {
			e.asked = time.Now()
			return // what failed is another version, which is tried again
		}
		if e.status.Load().Status == events.StatusFailed {
			e.status.Store(&events.Running{SecretID: e.id, VersionID: v.ID, Status: events.StatusApplied, At: have.LoadedAt})
			e.m.renew()
		}
		e.fresh(ctx, have, v)
		return
	}
	c := Change{ID: e.id, Version: v, Value: val, AnnouncedAt: cause.Time}
	if err := e.offer(ctx, c); err != nil {
		e.failed(ctx, v.ID, scrub(err, val), events.Event{})
		return
	}
	e.install(ctx, v, val)
	if !cause.Time.IsZero() {
		e.m.meters.latency.Record(ctx, time.Since(cause.Time).Seconds())
	}
	e.m.renew()
}

// unread notes that the store could not be read. A look without an announcement
// does not make the version be forgotten that failed before.
func (e *entry) unread(ctx context.Context, err error, cause events.Event) {
	wanted, again := cause.Data.VersionID, events.Event{}
	if cause.Time.IsZero() {
		if s := e.status.Load(); s.Status == events.StatusFailed {
			wanted = s.Wanted
		}
		if e.again.Type == events.TypeStaged {
			again = e.again
		}
	}
	e.failed(ctx, wanted, err, again)
}

// fresh notes that the store confirmed the version in use, whose end it may have
// moved.
func (e *entry) fresh(ctx context.Context, have *Current, v secret.Version) {
	e.asked, e.retry, e.nextTry, e.again = time.Now(), 0, time.Time{}, events.Event{}
	end := e.spec.NotAfter(secret.Metadata{}, v)
	if !have.Stale && have.NotAfter.Equal(end) {
		return
	}
	c := *have
	c.Version, c.NotAfter, c.Stale, c.Expired = v, end, false, false
	e.current.Store(&c)
	if have.Stale {
		e.m.meters.stale.Add(ctx, -1, metric.WithAttributes(attrID(e.id)))
		e.m.log.LogAttrs(ctx, slog.LevelInfo, "secret.fresh", slog.String("secret_id", string(e.id)), slog.String("version_id", string(v.ID)))
	}
}

// offer calls every hook; the first error counts.
func (e *entry) offer(ctx context.Context, c Change) error {
	for _, h := range e.hooks {
		if err := e.m.call(ctx, *h, c); err != nil {
			return err
		}
	}
	return nil
}

// maxReason bounds what a report says about a failure.
const maxReason = 200

// scrub returns err, or one without the value when its text has it: a hook may
// pass on what somebody else says of the credentials that it was given.
func scrub(err error, val secret.Value) error {
	if v := string(val.Reveal()); v != "" && strings.Contains(err.Error(), v) {
		return errors.New(strings.ReplaceAll(err.Error(), v, val.String()))
	}
	return err
}

// failed notes that a version could not be taken into use: the one before stays,
// the bus hears of it, and it is tried again because of cause. The caller holds
// the lock.
func (e *entry) failed(ctx context.Context, wanted secret.VersionID, err error, cause events.Event) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the caller gave up, which says nothing about the version
	}
	have := e.current.Load()
	reason := err.Error()
	e.status.Store(&events.Running{
		SecretID: e.id, VersionID: have.Version.ID, Status: events.StatusFailed, Wanted: wanted,
		Reason: reason[:min(len(reason), maxReason)], At: have.LoadedAt,
	})
	e.again = cause
	e.retry = min(max(e.retry*2, e.m.cfg.Retry), time.Minute)
	e.nextTry = time.Now().Add(e.retry)
	e.m.meters.failed.Add(ctx, 1, metric.WithAttributes(attrID(e.id), attribute.String("reason", store.Reason(err))))
	e.m.log.LogAttrs(ctx, slog.LevelError, "secret.reload.failed", slog.String("secret_id", string(e.id)), slog.String("version_id", string(wanted)),
		slog.String("running", string(have.Version.ID)), slog.String("error", err.Error()), slog.Duration("again_in", e.retry))
	e.m.renew()
}

// stage offers a pending version for verification.
func (e *entry) stage(ctx context.Context, cause events.Event) {
	e.lock()
	defer e.release()
	have := e.current.Load()
	want := cause.Data.VersionID
	if have == nil || have.Version.ID == want || e.status.Load().Wanted == want && e.status.Load().Status == events.StatusStaged {
		return
	}
	if e.seen.old(cause) {
		if e.again.ID == cause.ID {
			e.again = events.Event{} // overtaken: the next look at the current version ends the failure
		}
		return
	}
	v, val, err := e.read(ctx, store.Selector{Version: want})
	gone := errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNoValue)
	if gone || err == nil && v.Stage != secret.StagePending {
		e.staged(have, events.StatusApplied, "") // promoted or given up meanwhile
		return
	}
	if err == nil {
		err = e.offer(ctx, Change{ID: e.id, Version: v, Value: val, Staged: true, AnnouncedAt: cause.Time})
	}
	if err != nil {
		e.failed(ctx, want, scrub(err, val), cause)
		return
	}
	e.seen = announcement{cause.Time, want}
	e.staged(have, events.StatusStaged, want)
}

// staged notes that nothing has to be tried again, and what became of a pending
// version.
func (e *entry) staged(have *Current, status events.ApplyStatus, wanted secret.VersionID) {
	e.retry, e.nextTry, e.again = 0, time.Time{}, events.Event{}
	e.status.Store(&events.Running{SecretID: e.id, VersionID: have.Version.ID, Status: status, Wanted: wanted, At: have.LoadedAt})
	e.m.renew()
}
