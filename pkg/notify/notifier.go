package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Bus is what a notifier needs of the bus; *events.Bus is one.
type Bus interface {
	Consume(ctx context.Context, cfg events.ConsumeConfig, h events.Handler) error
	Notify(ctx context.Context, service string, e events.Event, seq uint64) error
	WatchLog(ctx context.Context, types []events.Type, fn func(context.Context, events.Announcement) error) error
	WatchReports(ctx context.Context, fn func(events.ReportEvent) error) error
	PublishAfter(ctx context.Context, e events.Event, after uint64) (uint64, error)
	Arm(ctx context.Context, e events.Event, at time.Time) (bool, error)
}

// Config is what a [Notifier] needs. Bus and Specs are required.
type Config struct {
	Bus Bus
	// Specs returns what is wanted of a secret, and false for one that is not
	// configured here.
	Specs func(secret.ID) (secret.Spec, bool)
	// Source names this notifier in events.
	Source string
	// Concurrency is how many announcements are fanned out at once. 0 means 8.
	Concurrency int

	// Nil means slog.Default and the global provider.
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// Notifier fans announcements out and follows rollouts.
type Notifier struct {
	cfg      Config
	log      *slog.Logger
	tracker  *tracker
	notified metric.Int64Counter
	duration metric.Float64Histogram
	stalls   metric.Int64Counter
	running  atomic.Bool
}

const scope = "github.com/tradepulse/rotator/pkg/notify"

// New returns a Notifier.
func New(cfg Config) (*Notifier, error) {
	if cfg.Bus == nil || cfg.Specs == nil {
		return nil, errors.New("notify: Bus and Specs are required")
	}
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 8)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	n := &Notifier{cfg: cfg, log: cfg.Logger}
	n.tracker = newTracker(n)
	return n, n.instruments(cfg.MeterProvider.Meter(scope))
}

func (n *Notifier) instruments(m metric.Meter) error {
	var errs [6]error
	n.notified, errs[0] = m.Int64Counter("rotator.notified",
		metric.WithDescription("Notifications left for services, by type."), metric.WithUnit("{notification}"))
	n.duration, errs[1] = m.Float64Histogram("rotator.rollout.duration",
		metric.WithDescription("Time from the announcement of a version to its use by every instance."), metric.WithUnit("s"))
	n.stalls, errs[2] = m.Int64Counter("rotator.rollout.stalls",
		metric.WithDescription("Rollouts that passed their deadline."), metric.WithUnit("{rollout}"))
	rollouts, err := m.Int64ObservableGauge("rotator.rollouts", metric.WithDescription("Rollouts by state."), metric.WithUnit("{rollout}"))
	errs[3] = err
	instances, err := m.Int64ObservableGauge("rotator.instances", metric.WithDescription("Live instances by service."), metric.WithUnit("{instance}"))
	errs[4] = err
	_, errs[5] = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		n.tracker.observe(o, rollouts, instances)
		return nil
	}, rollouts, instances)
	return errors.Join(errs[:]...)
}

// Run notifies and follows until ctx ends; then it lets what it has begun end,
// and returns nil.
func (n *Notifier) Run(ctx context.Context) error {
	n.running.Store(true)
	defer n.running.Store(false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.tracker.run(ctx) })
	g.Go(func() error {
		return ended(ctx, n.cfg.Bus.WatchLog(ctx, []events.Type{events.TypeRotated, events.TypeRollout}, n.tracker.logged))
	})
	g.Go(func() error {
		return ended(ctx, n.cfg.Bus.WatchReports(ctx, func(e events.ReportEvent) error { return n.tracker.reported(ctx, e) }))
	})
	g.Go(func() error {
		return n.cfg.Bus.Consume(ctx, events.ConsumeConfig{Consumer: events.NotifierConsumer, Concurrency: n.cfg.Concurrency}, n.fanOut)
	})
	return g.Wait()
}

// ended drops the error of a watch that was ended on purpose.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end was asked for
	}
	return err
}

// Ready reports whether the notifier runs and knows the fleet.
func (n *Notifier) Ready() bool { return n.running.Load() && n.tracker.ready() }

// Snapshot returns every rollout that is known, in the order of the secrets.
func (n *Notifier) Snapshot() []Status { return n.tracker.snapshot() }

// fanOut leaves a notification for every service that is subscribed to the
// secret or reports it.
func (n *Notifier) fanOut(ctx context.Context, d events.Delivery) error {
	id := d.Event.Data.SecretID
	services := n.tracker.fleet.services(id)
	if spec, ok := n.cfg.Specs(id); ok {
		services = append(services, spec.Services...)
	}
	slices.Sort(services)
	var errs []error
	for _, s := range slices.Compact(services) {
		if err := n.cfg.Bus.Notify(ctx, s, d.Event, d.Seq); err != nil {
			errs = append(errs, fmt.Errorf("notify %s: %w", s, err))
			continue
		}
		n.notified.Add(ctx, 1, metric.WithAttributes(attribute.String("type", string(d.Event.Type))))
	}
	return errors.Join(errs...)
}

// moved tells people that a rollout moved.
func (n *Notifier) moved(ctx context.Context, r Rollout, why Reason) {
	level := slog.LevelInfo
	switch r.State {
	case events.RolloutStalled:
		level = slog.LevelError
		n.stalls.Add(ctx, 1)
	case events.RolloutConverged:
		n.duration.Record(ctx, r.ConvergedAt.Sub(r.StartedAt).Seconds())
	default:
	}
	attrs := []slog.Attr{slog.String("secret_id", string(r.Event.SecretID)), slog.String("version_id", string(r.Event.VersionID)),
		slog.String("reason", string(why)), slog.Int("applied", r.Applied), slog.Int("blocking", len(r.Blocking))}
	if len(r.Blocking) > 0 {
		attrs = append(attrs, slog.String("first_blocker", r.Blocking[0].String()))
	}
	attrs = append(attrs, slog.String("state", string(r.State)))
	n.log.LogAttrs(ctx, level, "secret.rollout", attrs...)
}
