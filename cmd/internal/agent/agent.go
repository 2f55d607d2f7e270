//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Config is what an [Agent] needs; all but PollInterval and Logger is required.
type Config struct {
	// Service is the name under which the agent reports.
	Service string
	// Fleet names the fleet of the programs, "" for none.
	Fleet  string
	Files  []File
	Source client.Source
	Bus    *events.Bus
	// PollInterval is that of [client.Config].
	PollInterval time.Duration
	// Nil means slog.Default.
	Logger *slog.Logger
}

// Agent keeps the files.
type Agent struct {
	cfg   Config
	log   *slog.Logger
	files []*kept

	mu   sync.Mutex
	late map[secret.ID]string // :: id → why it is not delivered yet
}

// kept is a file with its program. Each has a manager of its own: one program may end
// while another lives.
type kept struct {
	*delivery

	instance string
	bus      *bus
}

// New returns an agent that does nothing until [Agent.Run].
func New(cfg Config) *Agent {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	a := &Agent{cfg: cfg, log: cfg.Logger, late: map[secret.ID]string{}}
	for _, f := range cfg.Files {
		a.late[f.ID] = notYet
		a.files = append(a.files, newKept(cfg, f))
	}
	return a
}

func newKept(cfg Config, f File) *kept {
	k := &kept{delivery: &delivery{file: f, log: cfg.Logger}}
	b := &bus{Bus: cfg.Bus, program: f.program, wait: waiting(f)}
	k.instance, b.incarnation = identity(cfg.Service, f.Path)
	k.bus, k.gone, k.half = b, b.gone, b.halfway
	return k
}

const notYet = "not delivered yet"

// How soon what failed at the start is tried again; it doubles.
const (
	retryBase = time.Second
	retryCap  = time.Minute
)

// closeTimeout bounds the last words to the bus.
const closeTimeout = 5 * time.Second

// Run keeps the files until ctx ends, and lets a delivery in hand finish. It says
// nothing about programs that may live: what they use stays on record, and the next
// agent takes it over.
func (a *Agent) Run(ctx context.Context) error {
	errs := make([]error, len(a.files))
	var wg sync.WaitGroup
	for i, k := range a.files {
		wg.Go(func() { errs[i] = a.keep(ctx, k) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// keep keeps one file until ctx ends.
func (a *Agent) keep(ctx context.Context, k *kept) error {
	m := a.manager(ctx, k)
	if m == nil {
		return nil // the end was asked for
	}
	a.deliver(ctx, m, k)
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return m.Close(ctx)
}

// Ready returns why not every secret is in its file, with its program told.
func (a *Agent) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, k := range a.files {
		if reason, late := a.late[k.file.ID]; late {
			errs = append(errs, fmt.Errorf("%s: %s", k.file.ID, reason))
		}
	}
	return errors.Join(errs...)
}

// manager tries until the secret can be read, and returns nil when ctx ends before.
func (a *Agent) manager(ctx context.Context, k *kept) *client.Manager {
	for wait := retryBase; ctx.Err() == nil; wait = min(wait*2, retryCap) {
		m, err := client.New(ctx, client.Config{
			Service: a.cfg.Service, Instance: k.instance, Fleet: a.cfg.Fleet, Source: a.cfg.Source, IDs: []secret.ID{k.file.ID}, Bus: k.bus,
			PollInterval: a.cfg.PollInterval, HookTimeout: k.file.patience(), Logger: a.log,
		})
		if err == nil {
			return m
		}
		if ctx.Err() == nil {
			a.log.LogAttrs(ctx, slog.LevelError, "agent.waiting", slog.String("error", err.Error()), slog.Duration("again_in", wait))
		}
		backoff.Pause(ctx, wait)
	}
	return nil
}

// deliver brings a secret to its program for the first time, however often that
// has to be tried. What comes later the manager delivers.
func (a *Agent) deliver(ctx context.Context, m *client.Manager, k *kept) {
	id := k.file.ID
	for wait := retryBase; ctx.Err() == nil; wait = min(wait*2, retryCap) {
		_, err := m.Subscribe(ctx, id, k.hook)
		if err == nil {
			a.delivered(ctx, k)
			return
		}
		a.log.LogAttrs(ctx, slog.LevelError, "agent.failed", slog.String("secret_id", string(id)), slog.String("error", err.Error()), slog.Duration("again_in", wait))
		a.mu.Lock()
		a.late[id] = err.Error()
		a.mu.Unlock()
		a.reported(ctx, k.bus.failed(ctx, short(err)))
		backoff.Pause(ctx, wait)
	}
}

func (a *Agent) delivered(ctx context.Context, k *kept) {
	a.mu.Lock()
	delete(a.late, k.file.ID)
	ready := len(a.late) == 0
	a.mu.Unlock()
	a.reported(ctx, k.bus.delivered(ctx))
	if ready {
		a.log.LogAttrs(ctx, slog.LevelInfo, "agent.ready", slog.Int("files", len(a.files)))
	}
}

// reported notes a report that failed; the manager repeats it before the lease
// ends.
func (a *Agent) reported(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "secret.report", slog.String("error", err.Error()))
	}
}

// maxReason bounds what a report says about a failure.
const maxReason = 200

func short(err error) string { return events.Clip(err.Error(), maxReason) }
