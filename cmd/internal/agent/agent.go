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
	"github.com/tradepulse/rotator/pkg/store"
)

// Config is what an [Agent] needs; all but PollInterval and Logger is required.
type Config struct {
	// Service is the name under which the agent reports.
	Service string
	Files   []File
	Source  client.Source
	Bus     *events.Bus
	// PollInterval is that of [client.Config].
	PollInterval time.Duration
	// Nil means slog.Default.
	Logger *slog.Logger
}

// Agent keeps the files.
type Agent struct {
	cfg   Config
	log   *slog.Logger
	bus   *bus
	files []*delivery

	mu   sync.Mutex
	late map[secret.ID]string // :: id → why it is not delivered yet
}

// New returns an agent that does nothing until [Agent.Run].
func New(cfg Config) *Agent {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	a := &Agent{cfg: cfg, log: cfg.Logger, late: map[secret.ID]string{}, bus: &bus{Bus: cfg.Bus, wait: map[secret.ID]events.Running{}}}
	for _, f := range cfg.Files {
		a.files = append(a.files, &delivery{file: f})
		a.late[f.ID] = notYet
		a.bus.wait[f.ID] = events.Running{SecretID: f.ID, VersionID: f.told(), Status: events.StatusFailed, Reason: notYet, At: time.Now()}
	}
	return a
}

const notYet = "not delivered yet"

// How soon what failed at the start is tried again; it doubles.
const (
	retryBase = time.Second
	retryCap  = time.Minute
)

// closeTimeout bounds the last words to the bus.
const closeTimeout = 5 * time.Second

// Run keeps the files until ctx ends, and lets a delivery in hand finish.
func (a *Agent) Run(ctx context.Context) error {
	m := a.manager(ctx)
	if m == nil {
		return nil // the end was asked for
	}
	var wg sync.WaitGroup
	for _, d := range a.files {
		wg.Go(func() { a.deliver(ctx, m, d) })
	}
	<-ctx.Done()
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return m.Close(ctx)
}

// Ready returns why not every secret is in its file, with its program told.
func (a *Agent) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, d := range a.files {
		if reason, late := a.late[d.file.ID]; late {
			errs = append(errs, fmt.Errorf("%s: %s", d.file.ID, reason))
		}
	}
	return errors.Join(errs...)
}

// manager tries until every secret can be read, and returns nil when ctx ends
// before.
func (a *Agent) manager(ctx context.Context) *client.Manager {
	ids := make([]secret.ID, len(a.files))
	for i, d := range a.files {
		ids[i] = d.file.ID
	}
	for wait := retryBase; ctx.Err() == nil; wait = min(wait*2, retryCap) {
		m, err := client.New(ctx, client.Config{
			Service: a.cfg.Service, Source: a.cfg.Source, IDs: ids, Bus: a.bus, PollInterval: a.cfg.PollInterval, Logger: a.log,
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
func (a *Agent) deliver(ctx context.Context, m *client.Manager, d *delivery) {
	id := d.file.ID
	for wait := retryBase; ctx.Err() == nil; wait = min(wait*2, retryCap) {
		_, err := m.Subscribe(ctx, id, d.hook)
		if err == nil {
			a.delivered(ctx, id)
			return
		}
		a.log.LogAttrs(ctx, slog.LevelError, "agent.failed", slog.String("secret_id", string(id)), slog.String("error", err.Error()), slog.Duration("again_in", wait))
		a.mu.Lock()
		a.late[id] = err.Error()
		a.mu.Unlock()
		a.reported(ctx, a.bus.failed(ctx, id, short(err)))
		backoff.Pause(ctx, wait)
	}
}

func (a *Agent) delivered(ctx context.Context, id secret.ID) {
	a.mu.Lock()
	delete(a.late, id)
	ready := len(a.late) == 0
	a.mu.Unlock()
	a.reported(ctx, a.bus.delivered(ctx, id))
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

// Once writes every file and tells no program, which is about to start. It tries
// until ctx ends.
func Once(ctx context.Context, source client.Source, files []File, log *slog.Logger) error {
	errs := make([]error, len(files))
	var wg sync.WaitGroup
	for i, f := range files {
		wg.Go(func() { errs[i] = once(ctx, source, f, log) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func once(ctx context.Context, source client.Source, f File, log *slog.Logger) error {
	for wait := retryBase; ; wait = min(wait*2, retryCap) {
		v, val, err := source.Read(ctx, f.ID, store.Selector{})
		if err == nil {
			err = (&delivery{file: f, silent: true}).hook(ctx, client.Change{ID: f.ID, Version: v, Value: val})
		}
		if err == nil {
			return nil
		}
		log.LogAttrs(ctx, slog.LevelWarn, "agent.failed", slog.String("secret_id", string(f.ID)), slog.String("error", err.Error()), slog.Duration("again_in", wait))
		if !backoff.Pause(ctx, wait) {
			return fmt.Errorf("%s: %w", f.ID, err)
		}
	}
}
