package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Announcement is an event in the log. The zero value, with Seq 0, means that
// there is none.
type Announcement struct {
	Event Event
	Seq   uint64
	// At is when the server stored the event; zero for a notification.
	At time.Time
	// Trace is that of the event's cause.
	Trace trace.SpanContext
}

// Last returns the last event of a type about a secret. With an error that
// wraps [ErrUntrusted] Seq is that of a message that no trusted key has
// signed; a caller can publish over it.
func (b *Bus) Last(ctx context.Context, t Type, id secret.ID) (Announcement, error) {
	return b.last(ctx, b.cfg.Names.RotatedStream(), b.cfg.Names.Event(t, id.Key()))
}

func (b *Bus) last(ctx context.Context, stream, subject string) (Announcement, error) {
	m, err := b.stored(ctx, stream, subject)
	if m == nil || err != nil {
		return Announcement{}, wrap("read the log", err)
	}
	e, err := b.decode(subject, m.Header, m.Data)
	if err != nil {
		b.note(ctx, subject, err)
		return Announcement{Seq: m.Sequence}, fmt.Errorf("read the log: %w: %w", ErrUntrusted, err)
	}
	return Announcement{Event: e, Seq: m.Sequence, At: m.Time, Trace: b.traceOf(ctx, m.Header)}, nil
}

// PublishAfter publishes e if the last event of its type about its secret has
// the sequence after, 0 for none, and returns the new sequence. Otherwise the
// error wraps [ErrConflict] and nothing is published.
//
// No message id goes with it: the server would take a second publication in its
// window for success, whatever the log looks like by then.
func (b *Bus) PublishAfter(ctx context.Context, e Event, after uint64) (uint64, error) {
	return b.send(ctx, b.cfg.Names.Event(e.Type, e.Data.SecretID.Key()), e, nil, jetstream.WithExpectLastSequencePerSubject(after))
}

// Publish publishes e once: again, it is ignored for as long as the log
// remembers ids.
func (b *Bus) Publish(ctx context.Context, e Event) error {
	_, err := b.send(ctx, b.cfg.Names.Event(e.Type, e.Data.SecretID.Key()), e, nil, jetstream.WithMsgID(e.ID))
	return err
}

// WatchLog calls fn with the last event of the given types about every secret,
// and then with every new one, until ctx ends (it returns nil) or fn fails.
// synced, which may be nil, is called once, after the events that were there at
// the start. When the stream was lost the watch begins anew, without a second
// synced; fn sees some events twice then.
func (b *Bus) WatchLog(ctx context.Context, types []Type, fn func(context.Context, Announcement) error, synced func()) error {
	subjects := make([]string, len(types))
	for i, t := range types {
		subjects[i] = b.cfg.Names.Event(t, ">")
	}
	return b.watch(ctx, b.cfg.Names.RotatedStream(), subjects, watchFuncs{message: func(m message) error {
		e, err := b.decode(m.subject, m.header, m.body)
		if err != nil {
			b.note(ctx, m.subject, err)
			return nil
		}
		return fn(b.extract(ctx, m.header), Announcement{Event: e, Seq: m.seq, At: m.at})
	}, synced: func() error {
		if synced != nil {
			synced()
			synced = nil
		}
		return nil
	}})
}

// stopError carries an error of the callback out of a watch, past its retries.
type stopError struct{ err error }

func (e stopError) Error() string { return e.err.Error() }

// watchPause is how long a watch that lost its stream waits to begin anew.
const watchPause = time.Second

// watchFuncs are the callbacks of a watch. Only message is required.
type watchFuncs struct {
	begin   func(since time.Time) error // a stream, made at since, is about to be seen
	message func(message) error
	synced  func() error // the messages that were there have been seen
}

// watch runs a consumer on the last message per subject and what follows. It
// begins anew when the consumer, the stream or a message was lost.
func (b *Bus) watch(ctx context.Context, stream string, subjects []string, fns watchFuncs) error {
	for {
		err := b.watchOnce(ctx, stream, subjects, fns)
		var stop stopError
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end was asked for
		case errors.As(err, &stop):
			return stop.err
		}
		b.log.LogAttrs(ctx, slog.LevelWarn, "bus.watch.restart", slog.String("stream", stream), slog.Any("error", err))
		b.streams.Delete(stream)
		_ = b.restore(ctx, err) // what it cannot mend shows in the next round
		backoff.Pause(ctx, watchPause)
	}
}

// beginWatch calls begin with the time when the stream was made.
func (b *Bus) beginWatch(ctx context.Context, s jetstream.Stream, begin func(time.Time) error) error {
	if begin == nil {
		return nil
	}
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	return b.seen(ctx, info.Config.Name, func() error { return begin(info.Created) })
}

// watcher is the consumer of a watch. It is not the ordered consumer of package
// jetstream: that one tries for ever to reach a stream that was deleted, and goes
// on in a new stream where the old one ended.
func watcher(subjects []string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: time.Minute, MemoryStorage: true, Replicas: 1,
	}
}

// watchOnce watches until ctx ends or the consumer fails. A stopError is that of a
// callback.
func (b *Bus) watchOnce(ctx context.Context, stream string, subjects []string, fns watchFuncs) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	c, err := s.CreateConsumer(ctx, watcher(subjects))
	if err != nil {
		return err
	}
	defer b.forget(ctx, s, c)
	if err := b.beginWatch(ctx, s, fns.begin); err != nil {
		return err
	}
	if info := c.CachedInfo(); fns.synced != nil && (info == nil || info.NumPending == 0) {
		if err := b.seen(ctx, stream, fns.synced); err != nil {
			return err
		}
		fns.synced = nil
	}
	p, err := b.pull(stream, c.CachedInfo().Name)
	if err != nil {
		return err
	}
	defer p.stop()
	return b.deliver(ctx, stream, p, fns)
}

// deliver calls fns.message with each message until it or the puller fails, or a
// message was lost, and fns.synced, unless it is nil, after the first one behind which
// none is pending.
func (b *Bus) deliver(ctx context.Context, stream string, p *puller, fns watchFuncs) error {
	for delivered := uint64(1); ; delivered++ {
		m, err := p.next(ctx)
		if err != nil {
			return err
		}
		if m.nth != delivered {
			return fmt.Errorf("message %d came after message %d", m.nth, delivered-1)
		}
		if err := b.seen(ctx, stream, func() error { return fns.message(m) }); err != nil {
			return err
		}
		if fns.synced != nil && m.pending == 0 {
			if err := b.seen(ctx, stream, fns.synced); err != nil {
				return err
			}
			fns.synced = nil
		}
	}
}

// seen calls a callback of a watch. If it fails or panics, the error is a
// stopError, which ends the watch.
func (b *Bus) seen(ctx context.Context, stream string, fn func() error) (err error) {
	defer func() {
		if err != nil {
			err = stopError{err}
		}
	}()
	defer b.recovered(ctx, "callback of the watch on "+stream, &err)
	return fn()
}

// forget removes the consumer of a watch that ends: a stream holds no more than
// a thousand. One that cannot be removed goes by itself after its threshold.
func (b *Bus) forget(ctx context.Context, s jetstream.Stream, c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if info := c.CachedInfo(); info != nil && b.nc.IsConnected() {
		_ = s.DeleteConsumer(ctx, info.Name)
	}
}
