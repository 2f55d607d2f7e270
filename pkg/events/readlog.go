package events

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
)

// LogTypes are the types of event that the log keeps.
func LogTypes() []Type {
	return []Type{TypeStaged, TypeRotated, TypeRotationFailed, TypeRollout, TypeDiscovered, TypeProofContradicted, TypeVerified}
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
	p, err := b.pull(b.cfg.Names.RotatedStream(), c.CachedInfo().Name)
	if err != nil {
		return wrap("read the log", err)
	}
	defer p.stop()
	return b.readLog(ctx, q.Follow, p, fn)
}

// readLog calls fn with each event, until none is pending unless it follows.
func (b *Bus) readLog(ctx context.Context, follow bool, p *puller, fn func(Announcement) error) error {
	for {
		m, err := p.next(ctx)
		switch {
		case err != nil && ctx.Err() != nil && follow:
			return nil
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return wrap("read the log", err)
		}
		e, err := b.decode(m.subject, m.header, m.body)
		if err != nil {
			b.note(ctx, m.subject, err)
		} else if err := fn(Announcement{Event: e, Seq: m.seq, At: m.at}); err != nil {
			return err
		}
		if m.pending == 0 && !follow {
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
