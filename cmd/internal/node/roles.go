package node

import (
	"context"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/health"
	"github.com/tradepulse/rotator/cmd/internal/running"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/drift"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/notify"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/scheduler"
)

// The roles that a node can have.
const (
	Scheduler = "scheduler"
	Worker    = "worker"
	Notifier  = "notifier"
)

// Roles returns all roles.
func Roles() []string { return []string{Scheduler, Worker, Notifier} }

// DefaultRoles returns the roles of a node that is told none. On a cluster the
// notifier is a program of its own.
func DefaultRoles(cfg *config.Config) []string {
	if cfg.SingleNode() {
		return Roles()
	}
	return []string{Scheduler, Worker}
}

// Missing returns the roles that a single node lacks, without which it rotates
// nothing. In a cluster other processes have them.
func Missing(cfg *config.Config, roles []string) []string {
	if !cfg.SingleNode() {
		return nil
	}
	return slices.DeleteFunc(Roles(), func(role string) bool { return slices.Contains(roles, role) })
}

func (n *node) serve(ctx context.Context, p *wire.Parts, m *health.Monitor) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error { return events.AwaitClose(ctx, p.Conn) })
	g.Go(func() error { return n.program(p).Run(ctx) })
	if slices.ContainsFunc(n.roles, func(role string) bool { return role != Notifier }) { // a notifier reads no store
		g.Go(func() error { return p.Identify(ctx, n.cfg, n.log) })
	}
	for _, role := range n.roles {
		switch role {
		case Scheduler:
			g.Go(func() error { return n.scheduler(ctx, p) })
		case Worker:
			g.Go(func() error { return n.worker(ctx, p) })
		case Notifier:
			g.Go(func() error { return n.notifier(ctx, p) })
		}
	}
	return g.Wait()
}

// program is the configuration that this node runs.
func (n *node) program(p *wire.Parts) *running.Program {
	out := &running.Program{Config: n.cfg, File: n.path, Environ: os.Environ(), Parts: p, Stores: true, Hangup: n.hangup, Logger: n.log}
	if slices.Contains(n.roles, Scheduler) {
		out.Sweep = p.Bus.SweepNow
	}
	return out
}

func (n *node) scheduler(ctx context.Context, p *wire.Parts) error {
	s, err := scheduler.New(scheduler.Config{Catalog: p.Catalog, Stores: p.Stores, Bus: p.Bus, Source: p.Source, SweepEvery: time.Duration(n.cfg.Scheduler.SweepEvery), Logger: n.log})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return startup(ctx, s.Run(ctx)) })
	g.Go(func() error { return p.Hear(ctx, n.cfg, s, n.log) })
	g.Go(func() error { return p.HearReads(ctx, n.cfg, n.log) })
	return g.Wait()
}

func (n *node) worker(ctx context.Context, p *wire.Parts) error {
	w := n.cfg.Worker
	targets := wire.NewTargets(n.cfg, p.Catalog, p.Stores)
	watch, err := drift.New(drift.Config{
		Catalog: p.Catalog, Stores: p.Stores, Bus: p.Bus, Source: p.Source, TargetFor: targets.For, Every: time.Duration(w.VerifyEvery), Logger: n.log,
	})
	if err != nil {
		return err
	}
	r, err := rotation.New(rotation.Config{
		Catalog: p.Catalog, Stores: p.Stores, Bus: p.Bus, Timers: p.Bus, Source: p.Source, TakeoverAttempts: w.TakeoverAttempts,
		TargetFor:        targets.For,
		ExternalDeadline: time.Duration(w.ExternalDeadline), RetryBase: time.Duration(w.RetryBase), RetryCap: time.Duration(w.RetryCap), Logger: n.log,
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return watch.Run(ctx) })
	for _, lane := range []string{events.EmergencyConsumer, events.WorkerConsumer} {
		c := events.ConsumeConfig{Consumer: lane, Concurrency: w.Concurrency, DrainTimeout: time.Duration(w.DrainTimeout), Retry: r.Retry}
		g.Go(func() error { return p.Bus.Consume(ctx, c, r.Handle) })
	}
	return g.Wait()
}

func (n *node) notifier(ctx context.Context, p *wire.Parts) error {
	nt, err := notify.New(notify.Config{Bus: p.Bus, Catalog: p.Catalog, Source: p.Source, Concurrency: n.cfg.Notifier.Concurrency, SecretMetrics: n.cfg.Notifier.SecretMetrics, Logger: n.log})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return nt.Run(ctx) })
	g.Go(func() error { return p.Forward(ctx, n.cfg.EventBridge, n.log) })
	g.Go(func() error { return p.CountReaders(ctx, n.cfg, n.log) })
	return g.Wait()
}
