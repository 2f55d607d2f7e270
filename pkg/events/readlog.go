package events

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
)

// LogTypes are the types of event that the log keeps.
func LogTypes() []Type {
	return []Type{TypeStaged, TypeRotated, TypeRotationFailed, TypeRollout, TypeDiscovered, TypeProofContradicted}
}

// LogQuery says which events of the log are read.
type LogQuery struct {
	// IDs are the secrets, none for all, and Types the types, none for all.
	IDs   []secret.ID
	Types []Type
	// Follow is to wait for new events after those that are there, until the context
	// ends.
	Follow bool
}

// ReadLog calls fn with the events of the log, the oldest first, as far back as the log
// goes. An event that no trusted key has signed is noted and left out. It returns nil
// when all were read, or when ctx ends while it follows.
func (b *Bus) ReadLog(ctx context.Context, q LogQuery, fn func(Announcement) error) error {
	s, err := b.stream(ctx, b.cfg.Names.RotatedStream())
	if err != nil {
		return wrap("read the log", err)
	}
	c, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubjects: b.cfg.Names.of(q), DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: time.Minute, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return wrap("read the log", err)
	}
	defer b.forget(ctx, s, c)
	if info := c.CachedInfo(); info != nil && info.NumPending == 0 && !q.Follow {
		return nil
	}
	iter, err := c.Messages()
	if err != nil {
		return wrap("read the log", err)
	}
	stop := context.AfterFunc(ctx, iter.Stop)
	defer stop()
	defer iter.Stop()
	return b.readLog(ctx, q.Follow, nextWithRepoll(iter), fn)
}

// readLog calls fn with each event, until none is pending unless it follows.
func (b *Bus) readLog(ctx context.Context, follow bool, next func() (jetstream.Msg, error), fn func(Announcement) error) error {
	for {
		m, err := next()
		switch {
		case err != nil && ctx.Err() != nil && follow:
			return nil
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return wrap("read the log", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return wrap("read the log", err)
		}
		e, err := b.decode(m.Subject(), m.Headers(), m.Data())
		if err != nil {
			b.note(ctx, m.Subject(), err)
		} else if err := fn(Announcement{Event: e, Seq: meta.Sequence.Stream, At: meta.Timestamp}); err != nil {
			return err
		}
		if meta.NumPending == 0 && !follow {
			return nil
		}
	}
}

// of returns the subjects of the events that a query is about.
func (n Names) of(q LogQuery) []string {
	types := q.Types
	if len(types) == 0 {
		types = LogTypes()
	}
	var out []string
	for _, t := range types {
		for _, id := range q.IDs {
			out = append(out, n.Event(t, id.Key()))
		}
		if len(q.IDs) == 0 {
			out = append(out, n.Event(t, ">"))
		}
	}
	return out
}
