package eventbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Log is what a [Forwarder] reads; *events.Bus is one.
type Log interface {
	ConsumeBatches(ctx context.Context, cfg events.BatchConfig, h events.BatchHandler) error
	Waiting(ctx context.Context, consumer string) (int, error)
}

// ForwarderConfig is what a [Forwarder] needs. Log and Publisher are required.
type ForwarderConfig struct {
	Log       Log
	Publisher *Publisher
	// Pause is the time to the second try while EventBridge cannot be reached; it
	// doubles with each further one, up to MaxPause. 0 means 500 ms and 30 s.
	Pause, MaxPause time.Duration
}

// withDefaults returns c with its zero values replaced.
func (c ForwarderConfig) withDefaults() ForwarderConfig {
	c.Pause, c.MaxPause = cmp.Or(c.Pause, 500*time.Millisecond), cmp.Or(c.MaxPause, 30*time.Second)
	return c
}

// Forwarder carries what is announced in the log to EventBridge. Any number may
// run; one keeps the order of the log except for entries that AWS refuses.
type Forwarder struct {
	cfg     ForwarderConfig
	log     *slog.Logger
	blocked atomic.Int64 // since when nothing gets through, in Unix nanoseconds; 0 when it does
	waiting metric.Int64ObservableGauge
	behind  metric.Float64ObservableGauge
	meter   metric.Meter
}

// NewForwarder returns a Forwarder.
func NewForwarder(cfg ForwarderConfig) (*Forwarder, error) {
	cfg = cfg.withDefaults()
	if cfg.Log == nil || cfg.Publisher == nil {
		return nil, errors.New("eventbridge: Log and Publisher are required")
	}
	f := &Forwarder{cfg: cfg, log: cfg.Publisher.cfg.Logger, meter: cfg.Publisher.cfg.MeterProvider.Meter(scope)}
	i := telemetry.New(f.meter)
	f.waiting = i.Observable("rotator.eventbridge.waiting", "{event}", "Announcements that have not been forwarded to EventBridge yet.")
	f.behind = i.ObservableTime("rotator.eventbridge.blocked", "s", "Time since nothing gets through to EventBridge any more; 0 while it does.")
	return f, i.Err()
}

// Run forwards until ctx ends. What has not been taken by then is forwarded by
// the next who runs.
func (f *Forwarder) Run(ctx context.Context) (err error) {
	reg, err := f.meter.RegisterCallback(f.observe, f.waiting, f.behind)
	if err != nil {
		return fmt.Errorf("eventbridge: %w", err)
	}
	defer func() { err = errors.Join(err, reg.Unregister()) }()
	err = f.cfg.Log.ConsumeBatches(ctx, events.BatchConfig{Consumer: events.EventBridgeConsumer, Size: maxEntries}, func(work context.Context, ds []events.Delivery) []error {
		return f.forward(work, ctx.Done(), ds)
	})
	if err != nil {
		return fmt.Errorf("eventbridge: %w", err)
	}
	return nil
}

// observeTimeout bounds the question how many events wait.
const observeTimeout = 2 * time.Second

func (f *Forwarder) observe(ctx context.Context, o metric.Observer) error {
	since := 0.0
	if at := f.blocked.Load(); at != 0 {
		since = time.Since(time.Unix(0, at)).Seconds()
	}
	o.ObserveFloat64(f.behind, since)
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	n, err := f.cfg.Log.Waiting(ctx, events.EventBridgeConsumer)
	if err != nil {
		return err
	}
	o.ObserveInt64(f.waiting, int64(n))
	return nil
}

// forward returns what became of each event. While EventBridge takes nothing at
// all it holds the batch and tries again, so that the events after it keep
// their place; an entry that AWS refuses by itself is given back and holds
// nothing up.
func (f *Forwarder) forward(ctx context.Context, stop <-chan struct{}, ds []events.Delivery) []error {
	outcomes := make([]error, len(ds))
	left := make([]int, len(ds)) // :: indexes of ds
	for i := range ds {
		left[i] = i
	}
	for try := 1; ; try++ {
		left = f.try(ctx, ds, left, outcomes)
		if len(left) == 0 {
			f.through(ctx)
			return outcomes
		}
		f.stuck(ctx, try, ds[left[0]], outcomes[left[0]])
		select {
		case <-stop:
			return outcomes
		case <-ctx.Done():
			return outcomes
		case <-time.After(retryPause(ds[left[0]].Event, try, f.cfg.Pause, f.cfg.MaxPause)):
		}
	}
}

// try puts the events that are left and returns those that could not be put
// because EventBridge could not be reached.
func (f *Forwarder) try(ctx context.Context, ds []events.Delivery, left []int, outcomes []error) []int {
	items := make([]item, len(left))
	for i, at := range left {
		items[i] = item{ctx: trace.ContextWithRemoteSpanContext(ctx, ds[at].Trace), event: ds[at].Event}
		outcomes[at] = nil
	}
	err := f.cfg.Publisher.publish(ctx, items)
	if err == nil {
		return nil
	}
	var again []int
	for _, failure := range err.Failures {
		at := left[failure.Index]
		outcomes[at] = failure.Err
		if _, refused := errors.AsType[*EntryError](failure.Err); !refused && !events.IsPermanent(failure.Err) {
			again = append(again, at)
			continue
		}
		f.refused(ctx, ds[at], failure.Err)
	}
	return again
}

// refused tells people of one event that AWS does not take: for now, or for good.
func (f *Forwarder) refused(ctx context.Context, d events.Delivery, err error) {
	f.log.LogAttrs(ctx, slog.LevelError, "eventbridge.refused", slog.String("type", string(d.Event.Type)), slog.String("event_id", d.Event.ID),
		slog.String("secret_id", string(d.Event.Data.SecretID)), slog.Bool("final", events.IsPermanent(err)), slog.String("error", err.Error()))
}

// stuck tells people that nothing gets through.
func (f *Forwarder) stuck(ctx context.Context, try int, d events.Delivery, err error) {
	now := time.Now()
	f.blocked.CompareAndSwap(0, now.UnixNano())
	level := slog.LevelWarn
	if try > 1 {
		level = slog.LevelError
	}
	f.log.LogAttrs(ctx, level, "eventbridge.behind", slog.Duration("blocked", now.Sub(time.Unix(0, f.blocked.Load()))),
		slog.Time("oldest", d.Event.Time), slog.Int("try", try), slog.String("error", err.Error()))
}

func (f *Forwarder) through(ctx context.Context) {
	if at := f.blocked.Swap(0); at != 0 {
		f.log.LogAttrs(ctx, slog.LevelInfo, "eventbridge.caught_up", slog.Duration("blocked", time.Since(time.Unix(0, at))))
	}
}

// retryPause returns the time to the next try, less up to half of it, so that
// processes do not try together.
func retryPause(e events.Event, try int, base, most time.Duration) time.Duration {
	d := backoff.Delay(try, base, most)
	return d - time.Duration(secret.Spread(e.Data.SecretID, fmt.Sprint(e.ID, try))*float64(d)/2)
}
