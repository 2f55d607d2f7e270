package events

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
)

// forgetTimeout bounds the purges of one incarnation.
const forgetTimeout = 30 * time.Second

// RecordEnd records that an incarnation has ended of which that is certain and which did
// not say so, unless its presence was stored again after a sequence: the error wraps
// [ErrConflict] then. An incarnation that lives after all finds its presence replaced, and
// joins again.
//
// It comes before [Bus.Forget]: a program that is killed while it purges leaves an
// incarnation that has ended, which holds nothing back, and of which any program can purge
// the rest.
func (b *Bus) RecordEnd(ctx context.Context, service, instance, incarnation string, upTo uint64) error {
	m, err := b.stored(ctx, b.cfg.Names.UsesStream(), b.cfg.Names.Presence(service, instance, incarnation))
	if err != nil || m == nil {
		return wrap("record the end of "+service+"/"+instance, err)
	}
	if m.Sequence > upTo {
		return fmt.Errorf("record the end of %s/%s: %w: it was renewed", service, instance, ErrConflict)
	}
	p, err := decodePresence(service, instance, incarnation, m.Data)
	if err == nil && p.Ended {
		return nil
	}
	p.Ended, p.Lease = true, cmp.Or(p.Lease, 1)
	_, err = b.putPresence(ctx, "record the end", p, jetstream.WithExpectLastSequencePerSubject(m.Sequence))
	return err
}

// Forget purges the presence of an incarnation, and its uses of the given secrets, up to
// and including a sequence: what was stored later stays. The error wraps [ErrConflict] when
// the presence was stored again since. The uses stay then: an instance whose presence is on
// record believes that its uses are.
//
// The presence of an incarnation that has ended goes last, and any other first. A purge
// that has begun goes on after ctx has ended, for at most forgetTimeout: a use without a
// presence would hold the secret until a person has it forgotten.
func (b *Bus) Forget(ctx context.Context, service, instance, incarnation string, ids []secret.ID, upTo uint64) error {
	if err := ctx.Err(); err != nil {
		return wrap("forget", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTimeout)
	defer cancel()
	stream := b.cfg.Names.UsesStream()
	s, err := b.stream(ctx, stream)
	if err != nil {
		return wrap("forget", err)
	}
	purge := func(upTo uint64, subjects ...string) error {
		for _, subject := range subjects {
			if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(upTo+1)); err != nil {
				return wrap("forget "+subject, err)
			}
		}
		return nil
	}
	presence, uses := b.cfg.Names.Presence(service, instance, incarnation), make([]string, len(ids))
	for i, id := range ids {
		uses[i] = b.cfg.Names.Use(id.Key(), service, incarnation)
	}
	m, err := b.stored(ctx, stream, presence)
	if err != nil {
		return wrap("forget "+presence, err)
	}
	if m != nil {
		if p, err := decodePresence(service, instance, incarnation, m.Data); err == nil && p.Ended {
			if err := purge(upTo, uses...); err != nil {
				return err
			}
			return purge(m.Sequence, presence)
		}
	}
	if err := purge(upTo, presence); err != nil {
		return err
	}
	switch m, err := b.stored(ctx, stream, presence); {
	case err != nil:
		return wrap("forget "+presence, err)
	case m != nil:
		return fmt.Errorf("forget %s: %w: it was renewed", presence, ErrConflict)
	}
	return purge(upTo, uses...)
}
