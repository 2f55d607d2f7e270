package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Timer is a schedule on the bus that turns into an event at its time.
type Timer struct {
	// At is when it fires, zero for a timer that was disarmed a moment ago.
	At time.Time
	// Seq is its sequence; 0 means that there is no timer.
	Seq uint64
	// Event is what it turns into.
	Event Event
}

// casTries bounds how often a compare-and-set is tried again.
const casTries = 5

const atPattern = "@at "

func (b *Bus) timerSubject(t Type, k secret.Key) string {
	if t == TypeRetire {
		return b.cfg.Names.RetireTimer(k)
	}
	return b.cfg.Names.Timer(k)
}

// Timer returns the timer of a secret for events of type t, [TypeNearExpiry]
// or [TypeRetire], and the zero Timer when none is armed. With an error that
// wraps [ErrUntrusted] At and Seq are those of a timer that no trusted key
// has signed.
func (b *Bus) Timer(ctx context.Context, t Type, id secret.ID) (Timer, error) {
	subject := b.timerSubject(t, id.Key())
	m, err := b.stored(ctx, b.cfg.Names.RotationStream(), subject)
	if m == nil || err != nil {
		return Timer{}, wrap("read timer", err)
	}
	if len(m.Data) == 0 && m.Header.Get(jetstream.ScheduleHeader) == "" {
		return Timer{Seq: m.Sequence}, nil // disarmed a moment ago
	}
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(m.Header.Get(jetstream.ScheduleHeader), atPattern))
	if err != nil {
		return Timer{Seq: m.Sequence}, fmt.Errorf("read timer: %w: no schedule", ErrUntrusted)
	}
	e, err := b.decode(subject, m.Header, m.Data)
	if err != nil {
		b.note(ctx, subject, err)
		return Timer{At: at, Seq: m.Sequence}, fmt.Errorf("read timer: %w: %w", ErrUntrusted, err)
	}
	return Timer{At: at, Seq: m.Sequence, Event: e}, nil
}

// Arm lets the bus deliver e at the given time: it sets the timer of e's type
// and secret, or moves it there by compare-and-set, and reports whether it had
// to. A time that has passed fires at once. It is for a caller that knows that e
// is the newest there is to be done about the secret; see [Bus.ArmAfter]. When the
// timer holds a rotation that outranks e, that one stays and the error wraps
// [ErrOutranked]. A later try of the retirement that e orders stays too.
func (b *Bus) Arm(ctx context.Context, e Event, at time.Time) (changed bool, err error) {
	// Most of the time the timer before has fired and there is none.
	if changed, err = b.ArmAfter(ctx, e, at, Timer{}); !errors.Is(err, ErrConflict) {
		return changed, err
	}
	for range casTries {
		t, err := b.Timer(ctx, e.Type, e.Data.SecretID)
		if err != nil && !errors.Is(err, ErrUntrusted) {
			return false, err
		}
		if err == nil && t.Event.Outranks(e) {
			return false, fmt.Errorf("arm %s: %w", e.Type, ErrOutranked)
		}
		if err == nil && t.Event.continues(e) {
			return false, nil
		}
		changed, err = b.ArmAfter(ctx, e, at, t)
		if !errors.Is(err, ErrConflict) {
			return changed, err
		}
	}
	return false, fmt.Errorf("arm %s: %w", e.Type, ErrConflict)
}

// ArmAfter is [Bus.Arm] for a caller that decided with the timer seen in view:
// when another one has been armed or removed since, the error wraps
// [ErrConflict] and that one stands. The event begins a trace of its own, linked
// to that of ctx: a rotation is not part of the one before it.
func (b *Bus) ArmAfter(ctx context.Context, e Event, at time.Time, seen Timer) (changed bool, err error) {
	ctx, span := b.tracer.Start(ctx, "arm "+string(e.Type), trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(ctx)))
	defer span.End()
	if seen.Seq != 0 && seen.At.Equal(at) && seen.Event.sameWork(e) {
		return false, nil
	}
	_, err = b.send(ctx, b.timerSubject(e.Type, e.Data.SecretID.Key()), e.validUntil(at), withHeader(
		jetstream.ScheduleHeader, atPattern+at.UTC().Format(time.RFC3339Nano),
		jetstream.ScheduleTargetHeader, b.cfg.Names.Work(e),
	), jetstream.WithExpectLastSequencePerSubject(seen.Seq))
	return err == nil, err
}

// sameWork reports whether two events ask for the same to be done.
func (e Event) sameWork(o Event) bool {
	return e.Type == o.Type && e.Data.SecretID == o.Data.SecretID && e.Data.VersionID == o.Data.VersionID && e.Data.Attempt == o.Data.Attempt && e.Data.Reason == o.Data.Reason
}

// Disarm removes a timer. Removing one that is not there is success.
func (b *Bus) Disarm(ctx context.Context, t Type, id secret.ID) error {
	if t == TypeRetire {
		return b.TakeBack(ctx, t, id)
	}
	s, err := b.stream(ctx, b.cfg.Names.RotationStream())
	if err != nil {
		return err
	}
	return wrap("disarm", s.Purge(ctx, jetstream.WithPurgeSubject(b.timerSubject(t, id.Key()))))
}

// TakeBack is [Bus.Disarm] without the right to purge, which would be that to purge every
// timer and all work. It puts an empty message, which goes after a second, in the place of
// the schedule: until then [Bus.ArmedKeys] has the secret.
func (b *Bus) TakeBack(ctx context.Context, t Type, id secret.ID) error {
	m := nats.NewMsg(b.timerSubject(t, id.Key()))
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	_, err := b.js.PublishMsg(ctx, m, jetstream.WithMsgTTL(time.Second))
	return wrap("disarm", err)
}

// ArmedKeys returns the secrets that have a timer for their next rotation, in
// one call per 100,000.
func (b *Bus) ArmedKeys(ctx context.Context) (map[secret.Key]struct{}, error) {
	return b.keys(ctx, b.cfg.Names.RotationStream(), b.cfg.Names.Timer(""))
}

// RotateNow asks for a rotation at once, in one message that also takes the
// secret's timer away, so that it cannot fire in between. A timer that outranks e
// stays.
func (b *Bus) RotateNow(ctx context.Context, e Event) error {
	e = e.validUntil(time.Now())
	k := e.Data.SecretID.Key()
	timer, target := b.cfg.Names.Timer(k), b.cfg.Names.Work(e)
	for range casTries {
		t, err := b.Timer(ctx, TypeNearExpiry, e.Data.SecretID)
		if err != nil && !errors.Is(err, ErrUntrusted) {
			return err
		}
		if t.Seq == 0 || t.Event.Outranks(e) {
			_, err = b.send(ctx, target, e, nil)
			return err
		}
		_, err = b.send(ctx, target, e, withHeader(jetstream.SchedulerHeader, timer, jetstream.ScheduleNextHeader, "purge"),
			jetstream.WithExpectLastSequenceForSubject(t.Seq, timer))
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("rotate now: %w", ErrConflict)
}

// ArmSweep lets the bus ask for a sweep every so often, whole seconds, and
// reports whether that had to be changed. Sweeps that were not taken do not
// pile up.
func (b *Bus) ArmSweep(ctx context.Context, every time.Duration) (changed bool, err error) {
	pattern := "@every " + every.String()
	subject := b.cfg.Names.SweepTimer()
	for range casTries {
		m, err := b.stored(ctx, b.cfg.Names.RotationStream(), subject)
		if err != nil {
			return false, wrap("read the sweep's timer", err)
		}
		var last uint64
		if m != nil {
			last = m.Sequence
			if _, bad := b.decode(subject, m.Header, m.Data); bad == nil && m.Header.Get(jetstream.ScheduleHeader) == pattern {
				return false, nil
			}
		}
		_, err = b.send(ctx, subject, b.sweep(), withHeader(
			jetstream.ScheduleHeader, pattern,
			jetstream.ScheduleTargetHeader, b.cfg.Names.Event(TypeSweep, ""),
			jetstream.ScheduleRollupHeader, jetstream.MsgRollupSubject,
		), jetstream.WithExpectLastSequencePerSubject(last))
		if !errors.Is(err, ErrConflict) {
			return err == nil, err
		}
	}
	return false, fmt.Errorf("arm the sweep: %w", ErrConflict)
}

// SweepNow asks for one sweep that looks at every secret, also at those that have not
// changed.
func (b *Bus) SweepNow(ctx context.Context) error {
	e := b.sweep()
	e.Data.Reason = ReasonManual
	_, err := b.send(ctx, b.cfg.Names.Event(TypeSweep, ""), e, withHeader(jetstream.MsgRollup, jetstream.MsgRollupSubject))
	return err
}

func (b *Bus) sweep() Event {
	now := time.Now()
	return Event{ID: "sweep-" + now.UTC().Format(time.RFC3339Nano), Type: TypeSweep, Source: b.cfg.Source, Time: now, Data: Data{OccurredAt: now}}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
