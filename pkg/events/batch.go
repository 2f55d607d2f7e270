package events

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/backoff"
)

// BatchHandler does what several events ask for, in their order. It returns the
// outcome of each, as [Handler] does, in the same order. Its context carries no
// trace: each delivery has its own.
type BatchHandler func(ctx context.Context, ds []Delivery) []error

// BatchConfig says what to consume in batches and how.
type BatchConfig struct {
	// Consumer is EventBridgeConsumer.
	Consumer string
	// Size is how many events are handed over at most. 0 means 10.
	Size int
	// DrainTimeout is how long the handler may go on after ctx has ended. 0 means
	// 30 s.
	DrainTimeout time.Duration
}

// batchWait is how long one request for the first event of a batch waits.
const batchWait = 30 * time.Second

// ConsumeBatches hands the events that are there to h, one batch after the
// other, as [Bus.Consume] does. Nothing is taken from the server before the
// batch in hand is done, so that an event is handed out twice only if it has to
// be delivered again. With one process that consumes, events come in the order
// of the log but for those.
func (b *Bus) ConsumeBatches(ctx context.Context, cfg BatchConfig, h BatchHandler) error {
	cfg.Size = cmp.Or(cfg.Size, 10)
	stream, err := b.streamOf(cfg.Consumer)
	if err != nil {
		return err
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(cmp.Or(cfg.DrainTimeout, 30*time.Second), cancel) })
	defer stop()
	c := &consumer{b: b, cfg: ConsumeConfig{Consumer: cfg.Consumer}, stream: stream, work: work}
	for ctx.Err() == nil {
		if err := c.batches(ctx, cfg.Size, h); ctx.Err() == nil {
			c.mend(ctx, err)
		}
	}
	return nil
}

// mend says that the consumer was lost, and brings back what can be.
func (c *consumer) mend(ctx context.Context, err error) {
	c.b.log.LogAttrs(ctx, slog.LevelWarn, "bus.consume.restart", slog.String("consumer", c.cfg.Consumer), slog.Any("error", err))
	if err := c.b.restore(ctx, err); err != nil {
		c.b.log.LogAttrs(ctx, slog.LevelDebug, "bus.consume.wait", slog.Any("error", err))
	}
	backoff.Pause(ctx, reconnectPause)
}

// batches handles batches until ctx ends or the consumer is lost.
func (c *consumer) batches(ctx context.Context, size int, h BatchHandler) error {
	cons, err := c.b.js.Consumer(ctx, c.stream, c.cfg.Consumer)
	if err != nil {
		return err
	}
	c.ackWait.Store(int64(cmp.Or(cons.CachedInfo().Config.AckWait, 30*time.Second)))
	for ctx.Err() == nil {
		ms, err := fetch(ctx, cons, size)
		if err != nil {
			return err
		}
		c.processBatch(ms, h)
	}
	return nil
}

// fetch waits for a message and returns it with what else is there. None is no
// error: a while has passed.
func fetch(ctx context.Context, cons jetstream.Consumer, size int) ([]jetstream.Msg, error) {
	wait, cancel := context.WithTimeout(ctx, batchWait)
	defer cancel()
	first, err := cons.Next(jetstream.FetchContext(wait))
	if err != nil {
		if wait.Err() != nil {
			return nil, nil // nothing came
		}
		return nil, err
	}
	ms := []jetstream.Msg{first}
	if size == 1 {
		return ms, nil
	}
	rest, err := cons.FetchNoWait(size - 1)
	if err != nil {
		return ms, nil // the next request says it again
	}
	for m := range rest.Messages() {
		ms = append(ms, m)
	}
	return ms, nil
}

// processBatch handles messages and acknowledges each as its outcome demands.
func (c *consumer) processBatch(ms []jetstream.Msg, h BatchHandler) {
	var taken []jetstream.Msg
	var ds []Delivery
	for _, m := range ms {
		if d, ok := c.delivery(m); ok {
			taken, ds = append(taken, m), append(ds, d)
		}
	}
	if len(ds) == 0 {
		return
	}
	begin := time.Now()
	errs := c.guardedBatch(taken, ds, h)
	took := time.Since(begin).Seconds()
	for i, d := range ds {
		kind := metric.WithAttributes(attribute.String("type", string(d.Event.Type)))
		outcome := c.finish(c.work, taken[i], d, errs[i])
		c.b.consumed.Add(c.work, 1, kind, metric.WithAttributes(attribute.String("outcome", outcome)))
		c.b.handled.Record(c.work, took, kind)
	}
}

// guardedBatch is guarded for several messages. A handler that panics, or that
// does not say what became of each, has done none of them.
func (c *consumer) guardedBatch(ms []jetstream.Msg, ds []Delivery, h BatchHandler) (errs []error) {
	defer c.keepAlive(c.work, ms...)()
	all := func(err error) []error {
		out := make([]error, len(ds))
		for i := range out {
			out[i] = err
		}
		return out
	}
	var err error
	func() {
		defer c.b.recovered(c.work, "handler of "+c.cfg.Consumer, &err)
		errs = h(c.work, ds)
	}()
	switch {
	case err != nil:
		errs = all(err)
	case len(errs) != len(ds):
		errs = all(fmt.Errorf("the handler returned %d outcomes for %d events", len(errs), len(ds)))
	}
	return errs
}
