package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Delivery is an event that a process was handed.
type Delivery struct {
	Event Event
	// Seq is the sequence of the message in its stream.
	Seq uint64
	// At is when the server stored the message, by its own clock.
	At time.Time
	// Attempt is how often the message has been handed out, from 1.
	Attempt int
	// Trace is that of the event's cause; a [Handler] finds it in its context.
	Trace trace.SpanContext
}

// Handler does what an event asks for. Its error is the outcome: nil is done,
// [Permanent] is never again, [RetryAfter] is later, any other error is again.
// Its context outlives the one given to Consume until the drain is over.
type Handler func(ctx context.Context, d Delivery) error

// ConsumeConfig says what to consume and how.
type ConsumeConfig struct {
	// Consumer is WorkerConsumer, EmergencyConsumer, SchedulerConsumer or
	// NotifierConsumer.
	Consumer string
	// Concurrency is how many events are handled at once. 0 means 1.
	Concurrency int
	// Timeout is how long a handler may take. Its context ends then, and one that does
	// not return is left alone: its event comes again. 0 means DefaultHandlerTimeout.
	Timeout time.Duration
	// DrainTimeout is how long handlers may go on after ctx has ended. 0 means
	// 30 s.
	DrainTimeout time.Duration
	// Retry is asked to see to it that a failed event is delivered again later;
	// when it returns nil the message is done. Nil, or a Retry that fails,
	// leaves that to the message itself, with a delay that doubles.
	Retry func(ctx context.Context, d Delivery, cause error) error
}

type permanentError struct{ err error }

func (e permanentError) Error() string { return e.err.Error() }
func (e permanentError) Unwrap() error { return e.err }

// Permanent marks an error after which an event must not be delivered again.
func Permanent(err error) error { return permanentError{err} }

// IsPermanent reports whether err was marked by [Permanent].
func IsPermanent(err error) bool {
	_, ok := errors.AsType[permanentError](err)
	return ok
}

type retryError struct {
	err error
	d   time.Duration
}

func (e retryError) Error() string { return e.err.Error() }
func (e retryError) Unwrap() error { return e.err }

// RetryAfter marks an error after which an event is to be delivered again in d.
func RetryAfter(err error, d time.Duration) error { return retryError{err, d} }

// RetryDelay returns the delay that [RetryAfter] put into err, and false when
// there is none.
func RetryDelay(err error) (time.Duration, bool) {
	r, ok := errors.AsType[retryError](err)
	return r.d, ok
}

// Delays of a message that has to be delivered again by itself.
const (
	nakBase = time.Second
	nakCap  = 5 * time.Minute
)

// reconnectPause is the least time between two tries to reach a consumer.
const reconnectPause = 500 * time.Millisecond

// Consume hands events to h until ctx ends, and then waits for the handlers
// that run. Messages that are no event to be trusted are counted, logged
// without their content and never delivered again. It mends what it can
// (a restarted server, deleted streams) and returns nil once ctx has ended.
func (b *Bus) Consume(ctx context.Context, cfg ConsumeConfig, h Handler) error {
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 1)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 30*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultHandlerTimeout)
	stream, err := b.streamOf(cfg.Consumer)
	if err != nil {
		return err
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	c := &consumer{b: b, cfg: cfg, stream: stream, handle: h, slots: make(chan struct{}, cfg.Concurrency), work: work}
	for ctx.Err() == nil {
		if err := c.pull(ctx); ctx.Err() == nil {
			c.mend(ctx, err)
		}
	}
	return c.drain(cancel)
}

func (b *Bus) streamOf(consumer string) (string, error) {
	switch consumer {
	case WorkerConsumer, EmergencyConsumer, SchedulerConsumer:
		return b.cfg.Names.RotationStream(), nil
	case NotifierConsumer, EventBridgeConsumer:
		return b.cfg.Names.RotatedStream(), nil
	default:
		return "", fmt.Errorf("consume: there is no consumer %q", consumer)
	}
}

// Waiting returns how many messages a consumer has not handled yet: those that
// wait and those in hand.
func (b *Bus) Waiting(ctx context.Context, consumer string) (int, error) {
	stream, err := b.streamOf(consumer)
	if err != nil {
		return 0, err
	}
	c, err := b.js.Consumer(ctx, stream, consumer)
	if err != nil {
		return 0, wrap("consumer "+consumer, err)
	}
	info := c.CachedInfo()
	return int(info.NumPending) + info.NumAckPending, nil
}

type consumer struct {
	b       *Bus
	cfg     ConsumeConfig
	stream  string
	handle  Handler
	slots   chan struct{}
	work    context.Context //nolint:containedctx // the life of the handlers, which outlasts the call's context by the drain
	running sync.WaitGroup
	ackWait atomic.Int64 // of the durable consumer, in nanoseconds
}

// pull takes messages until ctx ends or the consumer is lost. What arrives
// after the end is handed back.
func (c *consumer) pull(ctx context.Context) error {
	cons, err := c.b.js.Consumer(ctx, c.stream, c.cfg.Consumer)
	if err != nil {
		return err
	}
	c.ackWait.Store(int64(cmp.Or(cons.CachedInfo().Config.AckWait, 30*time.Second)))
	iter, err := cons.Messages(jetstream.PullMaxMessages(c.cfg.Concurrency), jetstream.PullExpiry(time.Minute), jetstream.PullHeartbeat(30*time.Second))
	if err != nil {
		return err
	}
	defer iter.Stop()
	stop := context.AfterFunc(ctx, iter.Drain)
	defer stop()
	for next := nextWithRepoll(iter); ; {
		m, err := next()
		if err != nil {
			return err
		}
		if !c.begin(ctx) {
			c.settle(m, "hand back", m.Nak)
			continue
		}
		c.running.Go(func() {
			defer func() { <-c.slots }()
			c.process(m)
		})
	}
}

// begin waits for a free slot, and returns false when ctx ends before.
func (c *consumer) begin(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case c.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// drain waits for the handlers that run, and cancels them after the drain timeout. One
// that does not return then is left alone.
func (c *consumer) drain(cancel func()) error {
	t := time.AfterFunc(c.cfg.DrainTimeout, cancel)
	defer t.Stop()
	c.running.Wait()
	return nil
}

// delivery returns the event of a message. A message that is none is terminated.
func (c *consumer) delivery(m jetstream.Msg) (Delivery, bool) {
	meta, err := m.Metadata()
	if err != nil {
		c.settle(m, "terminate", func() error { return m.TermWithReason(rejectMalformed) })
		return Delivery{}, false
	}
	e, err := c.b.decode(m.Subject(), m.Headers(), m.Data())
	if err != nil {
		c.b.note(c.work, m.Subject(), err)
		c.settle(m, "terminate", func() error { return m.TermWithReason("rejected") })
		return Delivery{}, false
	}
	return Delivery{Event: e, Seq: meta.Sequence.Stream, At: meta.Timestamp, Attempt: int(meta.NumDelivered), Trace: c.b.traceOf(c.work, m.Headers())}, true
}

func (c *consumer) process(m jetstream.Msg) {
	d, ok := c.delivery(m)
	if !ok {
		return
	}
	e := d.Event
	ctx, span := c.b.tracer.Start(c.b.extract(c.work, m.Headers()), "process "+string(e.Type), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("messaging.system", "nats"), attribute.String("secret.id", string(e.Data.SecretID))))
	defer span.End()
	begin := time.Now()
	err := c.guarded(ctx, m, d)
	outcome := c.finish(ctx, m, d, err)
	if err != nil {
		span.SetStatus(codes.Error, outcome)
	}
	c.b.consumed.Add(ctx, 1, metric.WithAttributes(attribute.String("type", string(e.Type)), attribute.String("outcome", outcome)))
	c.b.handled.Record(ctx, time.Since(begin).Seconds(), metric.WithAttributes(attribute.String("type", string(e.Type))))
}

// guarded calls the handler and shows the server signs of life meanwhile.
func (c *consumer) guarded(ctx context.Context, m jetstream.Msg, d Delivery) error {
	defer c.keepAlive(ctx, m)()
	return c.bounded(ctx, d)
}

// retry asks for a later delivery. A Retry that panics has failed.
func (c *consumer) retry(ctx context.Context, d Delivery, cause error) (err error) {
	defer c.b.recovered(ctx, "handler of "+string(d.Event.Type), &err)
	return c.cfg.Retry(ctx, d, cause)
}

// keepAlive shows the server signs of life of messages until stop is called.
func (c *consumer) keepAlive(ctx context.Context, ms ...jetstream.Msg) (stop func()) {
	wait := time.Duration(c.ackWait.Load())
	alive, cancel := context.WithCancel(ctx)
	go func() {
		for backoff.Pause(alive, wait/3) {
			for _, m := range ms {
				if err := m.InProgress(); err != nil {
					c.b.log.LogAttrs(ctx, slog.LevelDebug, "bus.in_progress", slog.Any("error", err))
				}
			}
		}
	}()
	return cancel
}

// recovered is deferred around a callback: it logs a panic and makes it the
// callback's error. Only the type of what it panicked with is shown: it might
// hold anything.
func (b *Bus) recovered(ctx context.Context, what string, err *error) {
	if p := recover(); p != nil { //nolint:revive // it is what its callers defer
		*err = fmt.Errorf("the %s panicked with a %T", what, p)
		b.log.LogAttrs(ctx, slog.LevelError, "bus.handler.panic", slog.String("error", (*err).Error()), slog.String("stack", string(debug.Stack())))
	}
}

// finish acknowledges the message as the outcome demands and returns a name
// for it.
func (c *consumer) finish(ctx context.Context, m jetstream.Msg, d Delivery, err error) string {
	if err == nil {
		c.done(ctx, m)
		return "done"
	}
	if IsPermanent(err) {
		c.settle(m, "terminate", func() error { return m.TermWithReason("permanent") })
		return "permanent"
	}
	if c.cfg.Retry != nil {
		rerr := c.retry(ctx, d, err)
		if rerr == nil {
			c.done(ctx, m)
			return "retry"
		}
		err = errors.Join(err, rerr)
	}
	delay, ok := RetryDelay(err)
	if !ok {
		delay = nakDelay(d)
	}
	c.b.log.LogAttrs(ctx, slog.LevelWarn, "bus.redeliver", slog.String("type", string(d.Event.Type)), slog.String("secret_id", string(d.Event.Data.SecretID)),
		slog.Duration("in", delay), slog.String("error", err.Error()))
	c.settle(m, "delay", func() error { return m.NakWithDelay(delay) })
	return "redeliver"
}

// nakDelay doubles with each delivery, less a quarter that depends on the
// event, so that what failed together does not come back together.
func nakDelay(d Delivery) time.Duration {
	delay := backoff.Delay(d.Attempt, nakBase, nakCap)
	return delay - time.Duration(secret.Spread(d.Event.Data.SecretID, d.Event.ID)*float64(delay)/4)
}

// ackTries bounds how often an acknowledgement is sent again; when all fail the
// message is delivered again, which is harmless.
const ackTries = 3

// done acknowledges a message and waits until the server has it.
func (c *consumer) done(ctx context.Context, m jetstream.Msg) {
	c.settle(m, "acknowledge", func() error {
		var err error
		for range ackTries {
			actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
			err = m.DoubleAck(actx)
			cancel()
			if err == nil || errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
				return nil
			}
		}
		return err
	})
}

func (c *consumer) settle(m jetstream.Msg, what string, do func() error) {
	if err := do(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		c.b.log.LogAttrs(c.work, slog.LevelWarn, "bus.ack", slog.String("what", what), slog.String("subject", m.Subject()), slog.Any("error", err))
	}
}

// extract returns ctx with the trace that a message carries.
func (b *Bus) extract(ctx context.Context, h nats.Header) context.Context {
	return b.cfg.Propagator.Extract(ctx, traceHeaders(h))
}

// traceOf returns the trace that the headers of a message carry.
func (b *Bus) traceOf(ctx context.Context, h nats.Header) trace.SpanContext {
	return trace.SpanContextFromContext(b.extract(ctx, h))
}
