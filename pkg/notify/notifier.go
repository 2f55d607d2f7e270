package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Bus is what a notifier needs of the bus; *events.Bus is one.
type Bus interface {
	// Consume calls h with every announcement until ctx ends. One that h fails on is
	// delivered again.
	Consume(ctx context.Context, cfg events.ConsumeConfig, h events.Handler) error
	// Notify publishes e where a service receives it, unless it was told of an event
	// with a later sequence.
	Notify(ctx context.Context, service string, e events.Event, seq uint64) error
	Log
	Fleet
	Purge
	Timers
	Clock
}

// Clock is that of the server which stores the records; *events.Bus reads it.
type Clock interface {
	// Now returns the time of the server, not before the call.
	Now(ctx context.Context) (time.Time, error)
}

// Log follows and writes the log; *events.Bus does.
type Log interface {
	// WatchLog calls fn with every event of the types that the log holds, in order,
	// and synced once after those that were there at the start.
	WatchLog(ctx context.Context, types []events.Type, fn func(context.Context, events.Announcement) error, synced func()) error
	// Last returns the last event of a type about a secret, read from the leader.
	Last(ctx context.Context, t events.Type, id secret.ID) (events.Announcement, error)
	// PublishAfter publishes e if the last event of its subject has the sequence after.
	// The error wraps [events.ErrConflict] if it has not.
	PublishAfter(ctx context.Context, e events.Event, after uint64) (uint64, error)
	// Publish publishes e. The log keeps one of two events with one ID.
	Publish(ctx context.Context, e events.Event) error
	// Retirements returns the receipts of the retirements of a secret.
	Retirements(ctx context.Context, id secret.ID) ([]events.Receipt, error)
}

// Fleet follows and keeps the records of the fleet; *events.Bus does.
type Fleet interface {
	// WatchFleet calls fn with every record of the stream of uses, and again with all
	// of them after the stream or the connection was lost.
	WatchFleet(ctx context.Context, fn func(events.FleetEvent) error) error
	// WatchReports calls fn with what instances with an older client report.
	WatchReports(ctx context.Context, fn func(events.ReportEvent) error) error
	// WatchConfirmed and WatchForgotten call fn with what people have recorded, from
	// the last record of each subject on.
	WatchConfirmed(ctx context.Context, fn func(events.Confirmed) error) error
	WatchForgotten(ctx context.Context, fn func(events.Forgotten) error) error
	// Join and WriteUse store the records of an instance with an older client, which
	// writes none itself.
	Join(ctx context.Context, p events.Presence) (uint64, error)
	WriteUse(ctx context.Context, u events.Use) error
}

// Purge removes records of instances that have ended; *events.Bus does.
type Purge interface {
	// RecordEnd records that an incarnation has ended which did not say so. The error
	// wraps [events.ErrConflict] if its presence was renewed after a sequence.
	RecordEnd(ctx context.Context, service, instance, incarnation string, upTo uint64) error
	// Forget purges the records of an incarnation up to a sequence. The error wraps
	// [events.ErrConflict] if its presence was renewed after that.
	Forget(ctx context.Context, service, instance, incarnation string, ids []secret.ID, upTo uint64) error
}

// Timers orders retirements and takes the orders back; *events.Bus does.
type Timers interface {
	// Arm has e delivered to a worker at the given time, in place of an order before.
	Arm(ctx context.Context, e events.Event, at time.Time) (bool, error)
	// Disarm takes the order about a secret back. It may have been delivered already:
	// the worker decides by itself.
	Disarm(ctx context.Context, t events.Type, id secret.ID) error
}

// DefaultConcurrency is [Config.Concurrency] unless a configuration says
// otherwise.
const DefaultConcurrency = 16

// Config is what a [Notifier] needs. Bus and Catalog are required.
type Config struct {
	Bus Bus
	// Catalog says what is configured for a secret. The notifier puts what the log
	// says of discovered secrets into it. For a secret that is neither configured
	// nor discovered, announcements reach the services that report it, and its
	// rollout stays where it is.
	Catalog *catalog.Catalog
	// Source names this notifier in events. "" means /rotator/notifier.
	Source string
	// Concurrency is how many announcements are handled, and how many rollouts
	// moved, at once. 0 means DefaultConcurrency.
	Concurrency int
	// SecretMetrics is how many secrets have metrics that name them, the first that
	// the log tells of. 0 means DefaultSecretMetrics, negative means none.
	SecretMetrics int

	// Nil means slog.Default and the global providers.
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

// withDefaults returns c with its zero values replaced.
func (c Config) withDefaults() Config {
	c.Concurrency, c.SecretMetrics = cmp.Or(c.Concurrency, DefaultConcurrency), cmp.Or(c.SecretMetrics, DefaultSecretMetrics)
	c.Source = cmp.Or(c.Source, "/rotator/notifier")
	c.Logger, c.MeterProvider, c.TracerProvider = telemetry.Logger(c.Logger), telemetry.Meters(c.MeterProvider), telemetry.Tracers(c.TracerProvider)
	return c
}

// Notifier tells services of new versions and follows rollouts. It is safe for
// concurrent use, and is run once.
type Notifier struct {
	cfg     Config
	tracer  trace.Tracer
	metrics *instruments
	tracker *tracker
}

const scope = "github.com/tradepulse/rotator/pkg/notify"

// New returns a Notifier.
func New(cfg Config) (*Notifier, error) {
	cfg = cfg.withDefaults()
	if cfg.Bus == nil || cfg.Catalog == nil {
		return nil, errors.New("notify: Bus and Catalog are required")
	}
	if cfg.Concurrency < 0 {
		return nil, fmt.Errorf("notify: Concurrency is %d, the least is 1", cfg.Concurrency)
	}
	metrics, err := newInstruments(cfg.MeterProvider.Meter(scope))
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	n := &Notifier{cfg: cfg, tracer: cfg.TracerProvider.Tracer(scope), metrics: metrics}
	n.tracker = newTracker(cfg, metrics, n.tracer)
	return n, nil
}

// Run notifies and follows until ctx ends. It then finishes what it has begun
// and returns nil; an error means that it could not go on.
func (n *Notifier) Run(ctx context.Context) (err error) {
	stop, err := n.metrics.observe(n.tracker)
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	g, ctx := errgroup.WithContext(ctx)
	t := n.tracker
	for _, part := range []func(context.Context) error{t.watchLog, t.watchCatalog, t.watchFleet, t.recordOlder, t.watchConfirmed, t.watchForgotten, t.forget, t.tellContradictions, t.run, n.consume} {
		g.Go(func() error { return part(ctx) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// consume fans announcements out once the services that report are known.
func (n *Notifier) consume(ctx context.Context) error {
	select {
	case <-n.tracker.loaded:
	case <-ctx.Done():
		return nil
	}
	return n.cfg.Bus.Consume(ctx, events.ConsumeConfig{Consumer: events.NotifierConsumer, Concurrency: n.cfg.Concurrency}, n.fanOut)
}

// Ready reports whether the notifier has read what the bus holds, and from then
// on tells and follows.
func (n *Notifier) Ready() bool {
	select {
	case <-n.tracker.loaded:
		return true
	default:
		return false
	}
}
