package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store"
)

// DefaultSweepEvery is [Config.SweepEvery] unless a configuration says
// otherwise.
const DefaultSweepEvery = 5 * time.Minute

// fullEvery is every how many sweeps nothing is taken from memory, so that what
// the bus lost behind our back is found.
const fullEvery = 12

// Config is what a [Scheduler] needs. Catalog, Stores and Bus are required.
type Config struct {
	// Catalog says which secrets are managed. Its entries may change at any time.
	Catalog *catalog.Catalog
	// Stores are the stores of the catalog.
	Stores *store.Set
	Bus    *events.Bus
	// Source names this scheduler in events.
	Source string
	// SweepEvery is how often the stores are compared with the bus. 0 means
	// DefaultSweepEvery; less than a second is an error.
	SweepEvery time.Duration
	// LeaveTimers has [Scheduler.Reconcile] and [Scheduler.ReconcilePath] announce
	// and discover only, in a program that does not schedule: no timer is set,
	// moved or removed.
	LeaveTimers bool

	// Nil means slog.Default and the global providers.
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

// withDefaults returns c with its zero values replaced.
func (c Config) withDefaults() Config {
	c.SweepEvery = cmp.Or(c.SweepEvery, DefaultSweepEvery)
	c.Logger, c.MeterProvider, c.TracerProvider = telemetry.Logger(c.Logger), telemetry.Meters(c.MeterProvider), telemetry.Tracers(c.TracerProvider)
	return c
}

// Scheduler arms timers. One [Scheduler.Run] per process.
type Scheduler struct {
	cfg        Config
	tracer     trace.Tracer
	swept      metric.Float64Histogram
	reconciler reconciler
	stores     []*storeState
	sweeps     atomic.Int64
}

const scope = "github.com/tradepulse/rotator/pkg/scheduler"

// New returns a Scheduler.
func New(cfg Config) (*Scheduler, error) {
	cfg = cfg.withDefaults()
	if cfg.Catalog == nil || cfg.Stores == nil || cfg.Bus == nil {
		return nil, errors.New("scheduler: Catalog, Stores and Bus are required")
	}
	if cfg.SweepEvery < time.Second {
		return nil, fmt.Errorf("scheduler: SweepEvery is %s, the least is 1s", cfg.SweepEvery)
	}
	s := &Scheduler{cfg: cfg, tracer: cfg.TracerProvider.Tracer(scope), reconciler: reconciler{cfg: cfg}, stores: newStoreStates(cfg.Stores)}
	return s, s.instruments(cfg.MeterProvider.Meter(scope))
}

func (s *Scheduler) instruments(m metric.Meter) error {
	i := telemetry.New(m)
	s.swept = i.Histogram("rotator.sweep.duration", "s", "Time to compare all stores with the bus.")
	s.reconciler.armed = i.Counter("rotator.timers.armed", "{timer}", "Timers set or moved by a sweep, by reason.")
	s.reconciler.violations = i.Counter("rotator.policy.violations", "{version}", "Versions of other programs that break the policy of their secret, when they are announced.")
	i.Observable("rotator.secrets", "{secret}", "Secrets by store and by what holds for them now: as the last sweep of this process decided, except for versions that were announced or have ended since.", s.showSecrets)
	i.Observable("rotator.discovery.problems", "{problem}", "Tags that cannot be carried out or are overruled, by store and kind. Only a sweep reads tags, so this is of the last sweep of this process.", s.showFindings)
	return i.Err()
}

// sweepTimeout bounds a sweep, of a million secrets too.
const sweepTimeout = 2 * time.Hour

// Run sweeps once and then whenever the bus says so, until ctx ends. It returns
// nil then. It waits for the bus to take the first sweep; an error means that
// waiting does not mend what is wrong.
func (s *Scheduler) Run(ctx context.Context) error {
	if err := s.cfg.Bus.Await(ctx, s.begin); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var rearming sync.WaitGroup
	defer rearming.Wait()
	rearming.Go(func() { s.rearm(ctx) })
	// A sweep that waits for a dead store leaves room for those of the others.
	concurrency := len(s.stores) + 1
	return s.cfg.Bus.Consume(ctx, events.ConsumeConfig{Consumer: events.SchedulerConsumer, Concurrency: concurrency, Timeout: sweepTimeout}, func(ctx context.Context, d events.Delivery) error {
		_, err := s.sweep(ctx, d.Attempt > 1, d.Event.Data.Reason == events.ReasonManual)
		return err
	})
}

// begin asks for the first sweep, and for the regular ones.
func (s *Scheduler) begin(ctx context.Context) error {
	if _, err := s.cfg.Bus.ArmSweep(ctx, s.cfg.SweepEvery); err != nil {
		return fmt.Errorf("scheduler: arm the sweep: %w", err)
	}
	if err := s.cfg.Bus.SweepNow(ctx); err != nil {
		return fmt.Errorf("scheduler: ask for the first sweep: %w", err)
	}
	return nil
}

// rearm arms the timer of the sweep again where it is missing, because the sweep
// finds all else that was lost. The stream may have been deleted, or another
// program may have put a message in its place that no scheduler takes.
func (s *Scheduler) rearm(ctx context.Context) {
	tick := time.NewTicker(s.cfg.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed, err := s.cfg.Bus.ArmSweep(ctx, s.cfg.SweepEvery)
		if err == nil && changed {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "sweep.armed_again", slog.Duration("every", s.cfg.SweepEvery))
			err = s.cfg.Bus.SweepNow(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "sweep.not_armed", slog.String("error", err.Error()))
		}
	}
}

// discovers reports whether secrets are discovered in any store.
func (s *Scheduler) discovers() bool {
	return slices.ContainsFunc(s.stores, func(st *storeState) bool { return s.cfg.Catalog.Discovery(st.name) != nil })
}
