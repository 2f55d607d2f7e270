//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/internal/process"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Once writes every file and tells no program, which is about to start. It tries
// until ctx ends. With a bus, which may be nil, it leaves on record what each program
// uses; an agent that keeps the file later takes the record over.
func Once(ctx context.Context, cfg Config) error {
	errs := make([]error, len(cfg.Files))
	var wg sync.WaitGroup
	for i, f := range cfg.Files {
		wg.Go(func() { errs[i] = once(ctx, cfg, f) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func once(ctx context.Context, cfg Config, f File) error {
	r := newRecord(cfg, f)
	r.put(ctx, "")
	for wait := retryBase; ; wait = min(wait*2, retryCap) {
		v, val, err := cfg.Source.Read(ctx, f.ID, store.Selector{Primary: true})
		if err == nil {
			err = (&delivery{file: f, silent: true, log: cfg.Logger}).hook(ctx, client.Change{ID: f.ID, Version: v, Value: val})
		}
		if err == nil {
			if f.mayRun() {
				r.use.Accepts = nil
			}
			r.put(ctx, v.ID)
			return nil
		}
		cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "agent.failed", slog.String("secret_id", string(f.ID)), slog.String("error", err.Error()), slog.Duration("again_in", wait))
		if !backoff.Pause(ctx, wait) {
			return fmt.Errorf("%s: %w", f.ID, err)
		}
	}
}

// onceLease is the lease of an agent that ends, in seconds: nothing renews it. For a
// program that is a job, its record counts from then on until the longest run is over;
// for any other it counts until the next agent, or a person, ends it.
const onceLease = 1

// record is what an agent that ends leaves on the bus for one file.
type record struct {
	bus      *events.Bus
	log      *slog.Logger
	presence events.Presence
	use      events.Use
	joined   bool
}

func newRecord(cfg Config, f File) *record {
	instance, incarnation := identity(cfg.Service, f.Path)
	now := time.Now()
	return &record{
		bus: cfg.Bus, log: cfg.Logger, joined: true,
		presence: events.Presence{Service: cfg.Service, Instance: instance, Incarnation: incarnation, StartedAt: now, At: now, Lease: onceLease, Fleet: cfg.Fleet},
		use: events.Use{
			Running: events.Running{SecretID: f.ID}, Service: cfg.Service, Instance: instance, Incarnation: incarnation,
			Accepts: []secret.VersionID{}, PastFence: events.PastFenceServe,
		},
	}
}

// mayRun reports whether a program may run that is not told of the version in the file,
// and so uses one that is not known. A program that is told of none reads the file at
// each use.
func (f File) mayRun() bool {
	s, ok := f.Reload.(Signal)
	if !ok {
		return f.Reload != nil
	}
	pid, _, err := s.pid()
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errStale)
	}
	_, err = process.Of(pid)
	return !errors.Is(err, fs.ErrNotExist)
}

// put leaves on record that the program uses v. A bus that cannot be reached keeps no
// program from its secrets, and is logged.
func (r *record) put(ctx context.Context, v secret.VersionID) {
	if r.bus == nil {
		return
	}
	if v != "" {
		r.use.VersionID, r.use.Status, r.use.At = v, events.StatusApplied, time.Now()
	}
	r.use.Joined = r.joined
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	_, err := r.bus.Join(ctx, r.presence)
	if err == nil {
		err = r.bus.WriteUse(ctx, r.use)
	}
	if r.joined = r.joined && err == nil; err != nil {
		r.log.LogAttrs(ctx, slog.LevelError, "agent.not_joined", slog.String("secret_id", string(r.use.SecretID)), slog.String("error", err.Error()),
			slog.String("message", "a rotation cannot see that the program uses this secret"))
	}
}
