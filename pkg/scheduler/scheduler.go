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

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
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
	// LeaveTimers has [Scheduler.Look] and [Scheduler.LookAt] announce and
	// discover only, in a program that does not schedule: no timer is set, moved
	// or taken away.
	LeaveTimers bool

	// Nil means slog.Default and the global providers.
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

// Scheduler arms timers. One [Scheduler.Run] per process.
type Scheduler struct {
	Config
	log     *slog.Logger
	tracer  trace.Tracer
	swept   metric.Float64Histogram
	armed   metric.Int64Counter
	shelves []*shelf
	sweeps  atomic.Int64
}

const scope = "github.com/tradepulse/rotator/pkg/scheduler"

// New returns a Scheduler.
func New(cfg Config) (*Scheduler, error) {
	if cfg.Catalog == nil || cfg.Stores == nil || cfg.Bus == nil {
		return nil, errors.New("scheduler: Catalog, Stores and Bus are required")
	}
	cfg.SweepEvery = cmp.Or(cfg.SweepEvery, DefaultSweepEvery)
	if cfg.SweepEvery < time.Second {
		return nil, fmt.Errorf("scheduler: SweepEvery is %s, the least is 1s", cfg.SweepEvery)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	s := &Scheduler{Config: cfg, log: cfg.Logger, tracer: cfg.TracerProvider.Tracer(scope), shelves: shelves(cfg.Stores)}
	return s, s.instruments(cfg.MeterProvider.Meter(scope))
}

func (s *Scheduler) instruments(m metric.Meter) error {
	var errs [4]error
	s.swept, errs[0] = m.Float64Histogram("rotator.sweep.duration",
		metric.WithDescription("Time to compare all stores with the bus."), metric.WithUnit("s"))
	s.armed, errs[1] = m.Int64Counter("rotator.timers.armed",
		metric.WithDescription("Timers set or moved by a sweep, by reason."), metric.WithUnit("{timer}"))
	_, errs[2] = m.Int64ObservableGauge("rotator.secrets", metric.WithInt64Callback(s.showSecrets),
		metric.WithDescription("Secrets at the last sweep of this process, by store and by what was decided for them."), metric.WithUnit("{secret}"))
	_, errs[3] = m.Int64ObservableGauge("rotator.discovery.problems", metric.WithInt64Callback(s.showProblems),
		metric.WithDescription("Tags at the last sweep of this process that cannot be carried out or are overruled, by store and kind."), metric.WithUnit("{problem}"))
	return errors.Join(errs[:]...)
}

// Run sweeps once and then whenever the bus says so, until ctx ends. It returns
// nil then; an error means that it could not start.
func (s *Scheduler) Run(ctx context.Context) error {
	if _, err := s.Bus.ArmSweep(ctx, s.SweepEvery); err != nil {
		return fmt.Errorf("scheduler: arm the sweep: %w", err)
	}
	if err := s.Bus.SweepNow(ctx); err != nil {
		return fmt.Errorf("scheduler: ask for the first sweep: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var keeping sync.WaitGroup
	defer keeping.Wait()
	keeping.Go(func() { s.keep(ctx) })
	// A sweep that waits for a dead store leaves room for those of the others.
	concurrency := len(s.shelves) + 1
	return s.Bus.Consume(ctx, events.ConsumeConfig{Consumer: events.SchedulerConsumer, Concurrency: concurrency}, func(ctx context.Context, d events.Delivery) error {
		_, err := s.sweep(ctx, d.Attempt > 1)
		return err
	})
}

// keep looks after the timer of the sweep, on which everything that was lost
// depends: with its stream it may have been lost itself, and somebody else may
// have put a message in its place that no scheduler takes.
func (s *Scheduler) keep(ctx context.Context) {
	tick := time.NewTicker(s.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed, err := s.Bus.ArmSweep(ctx, s.SweepEvery)
		if err == nil && changed {
			s.log.LogAttrs(ctx, slog.LevelWarn, "sweep.armed_again", slog.Duration("every", s.SweepEvery))
			err = s.Bus.SweepNow(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "sweep.not_armed", slog.String("error", err.Error()))
		}
	}
}

// discovers reports whether secrets are discovered in any store.
func (s *Scheduler) discovers() bool {
	return slices.ContainsFunc(s.shelves, func(sh *shelf) bool { return s.Catalog.Discovery(sh.name) != nil })
}

// forgot tells people that a discovered secret is managed no longer.
func (s *Scheduler) forgot(ctx context.Context, spec secret.Spec) {
	s.log.LogAttrs(ctx, slog.LevelInfo, "secret.gone", slog.String("secret_id", string(spec.ID)), slog.String("store", spec.Store), slog.String("path", spec.Path))
}

// observe records what a sweep found.
func (s *Scheduler) observe(ctx context.Context, r Result, took time.Duration, err error) {
	s.swept.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.Bool("ok", err == nil)))
	level := slog.LevelDebug
	if r.Armed > 0 || r.Announced > 0 || r.Discovered > 0 || r.Gone > 0 {
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{slog.Int("secrets", r.total()), slog.Int("armed", r.Armed), slog.Int("announced", r.Announced),
		slog.Int("discovered", r.Discovered), slog.Int("gone", r.Gone), slog.Duration("took", took)}
	if err != nil {
		level, attrs = slog.LevelError, append(attrs, slog.String("error", err.Error()))
	}
	s.log.LogAttrs(ctx, level, "sweep.done", attrs...)
}
