package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Confirmation says of one stream of uses that no user of a secret was lost with a
// stream before it. The program that makes the first stream writes one; after that
// stream was lost only a person can.
//
// It is not signed, and neither is [Forgotten]: the permissions on record.> say who
// may write it.
type Confirmation struct {
	// Since is when the stream was made.
	Since time.Time `json:"since"`
	// By is who says so, and Reason why. Both are empty for the first stream.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// At is when it was said, by the clock of the program.
	At time.Time `json:"at"`
}

// Forgotten is the record that a person had the records of an incarnation purged.
type Forgotten struct {
	Service     string `json:"service"`
	Instance    string `json:"instance"`
	Incarnation string `json:"incarnation"`
	// By is who did it, and Reason why.
	By     string `json:"by"`
	Reason string `json:"reason"`
	// At is when it was done, by the clock of the program.
	At time.Time `json:"at"`
	// RenewedAt is when the presence of the incarnation was stored last, zero if
	// there was none.
	RenewedAt time.Time `json:"renewed_at,omitzero"`
	// Used are the uses that were purged.
	Used []Use `json:"used"`
	// Done is false in the record that is written before the purge, and true in the
	// one after it.
	Done bool `json:"done,omitempty"`
}

// errUnconfirmed is returned where no stream was ever confirmed.
var errUnconfirmed = errors.New("no stream of uses is confirmed")

// confirmFirst confirms the stream of uses unless one was confirmed before.
func (b *Bus) confirmFirst(ctx context.Context, uses jetstream.Stream) error {
	info, err := uses.Info(ctx)
	if err != nil {
		return err
	}
	err = b.putStanding(ctx, b.cfg.Names.Confirmation(), Confirmation{Since: info.Created, At: time.Now()}, jetstream.WithExpectLastSequencePerSubject(0))
	if errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// ConfirmFleet has a person say that no user of a secret was lost with an earlier
// stream of uses than the one that was made at c.Since. The error wraps
// [ErrConflict] when that stream was lost, too.
func (b *Bus) ConfirmFleet(ctx context.Context, c Confirmation) error {
	if err := errors.Join(validText("by", c.By), validText("reason", c.Reason)); err != nil {
		return fmt.Errorf("confirm the fleet: %w", err)
	}
	_, before, err := b.confirmed(ctx)
	if err != nil && !errors.Is(err, errUnconfirmed) {
		return wrap("confirm the fleet", err)
	}
	s, err := b.stream(ctx, b.cfg.Names.UsesStream())
	if err != nil {
		return wrap("confirm the fleet", err)
	}
	info, err := s.Info(ctx)
	if err != nil {
		return wrap("confirm the fleet", err)
	}
	if !info.Created.Equal(c.Since) {
		return fmt.Errorf("confirm the fleet: %w: the stream of uses was made at %s", ErrConflict, info.Created.UTC().Format(time.RFC3339))
	}
	return wrap("confirm the fleet", b.putStanding(ctx, b.cfg.Names.Confirmation(), c, jetstream.WithExpectLastSequencePerSubject(before)))
}

// Confirmed returns when the stream of uses was made, and the last confirmation,
// zero for none.
func (b *Bus) Confirmed(ctx context.Context) (since time.Time, last Confirmation, err error) {
	last, _, err = b.confirmed(ctx)
	if err != nil && !errors.Is(err, errUnconfirmed) {
		return since, last, wrap("read the confirmation of the fleet", err)
	}
	s, err := b.stream(ctx, b.cfg.Names.UsesStream())
	if err != nil {
		return since, last, wrap("read the confirmation of the fleet", err)
	}
	info, err := s.Info(ctx)
	if err != nil {
		return since, last, wrap("read the confirmation of the fleet", err)
	}
	return info.Created, last, nil
}

// confirmed returns the last confirmation and its sequence. The error wraps
// errUnconfirmed when there is none.
func (b *Bus) confirmed(ctx context.Context) (Confirmation, uint64, error) {
	m, err := b.stored(ctx, b.cfg.Names.RecordStream(), b.cfg.Names.Confirmation())
	switch {
	case errors.Is(err, nats.ErrStreamNotFound), err == nil && m == nil:
		return Confirmation{}, 0, errUnconfirmed
	case err != nil:
		return Confirmation{}, 0, err
	}
	var c Confirmation
	if json.Unmarshal(m.Data, &c) != nil {
		return Confirmation{}, m.Sequence, fmt.Errorf("%w: the last confirmation is not understood", errUnconfirmed)
	}
	return c, m.Sequence, nil
}

// RecordForgotten writes that the records of an incarnation are about to be purged,
// or were.
func (b *Bus) RecordForgotten(ctx context.Context, f Forgotten) error {
	err := errors.Join(validNames(f.Service, f.Instance, f.Incarnation), validText("by", f.By), validText("reason", f.Reason))
	if err == nil {
		err = b.putStanding(ctx, b.cfg.Names.Forgotten(f.Service, f.Instance), f)
	}
	return wrap("record what is forgotten", err)
}

// WatchForgotten calls fn with the last record of each instance that was forgotten, and
// then with every new one, until ctx ends (it returns nil) or fn fails. One that is
// not understood is left out.
func (b *Bus) WatchForgotten(ctx context.Context, fn func(Forgotten) error) error {
	n := b.cfg.Names
	return b.watch(ctx, n.RecordStream(), []string{n.Forgotten("*", "*")}, watchFuncs{message: func(m message) error {
		var f Forgotten
		err := json.Unmarshal(m.body, &f)
		if err == nil && n.Forgotten(f.Service, f.Instance) == m.subject {
			return fn(f)
		}
		b.log.LogAttrs(ctx, slog.LevelWarn, "record.not_understood", slog.String("subject", m.subject))
		return nil
	}})
}

func validText(name, s string) error {
	if s == "" || len(s) > maxText {
		return fmt.Errorf("%s has %d bytes, want 1 to %d", name, len(s), maxText)
	}
	return nil
}

// putStanding stores a record that is never removed.
func (b *Bus) putStanding(ctx context.Context, subject string, record any, opts ...jetstream.PublishOpt) error {
	body, err := json.Marshal(record)
	if err != nil {
		return err
	}
	_, err = b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: body}, opts...)
	return conflict(err)
}

// Instance returns what is stored of an instance, in the form of a fleet: a user for
// each incarnation and secret, and one with an empty SecretID for an incarnation
// that uses none. With an incarnation it is of that one alone, also if a record of it
// does not name the instance. Reports of older clients are not among it.
func (b *Bus) Instance(ctx context.Context, service, instance, incarnation string) (Fleet, error) {
	f, err := b.instance(ctx, service, instance, incarnation)
	return f, wrap("read the records of "+service+"/"+instance, err)
}

func (b *Bus) instance(ctx context.Context, service, instance, incarnation string) (Fleet, error) {
	if err := errors.Join(ValidToken(service), ValidToken(instance)); err != nil {
		return Fleet{}, err
	}
	s, err := b.usesBehindBarrier(ctx)
	if err != nil {
		return Fleet{}, err
	}
	f := Fleet{Seq: s.seq, At: s.at}
	presences, err := b.presences(ctx, s, service, instance, incarnation)
	if err != nil {
		return Fleet{}, err
	}
	unused := maps.Clone(presences)
	err = s.all(ctx, b.cfg.Names.Use("*", service, cmp.Or(incarnation, "*")), func(r record) {
		u, ok := b.userOf(ctx, r)
		p, known := presences[u.Use.Incarnation]
		// Only a use that does not name its instance is taken for what its subject says.
		if !ok || u.Use.Instance != instance && (u.Use.Instance != "" || !known && incarnation == "") {
			return
		}
		delete(unused, u.Use.Incarnation)
		if !known {
			p.Problem = noPresence
		}
		u.Use.Instance, u.Presence, u.RenewedAt, u.Problem = instance, p.Presence, p.RenewedAt, cmp.Or(u.Problem, p.Problem)
		f.Users = append(f.Users, u)
	})
	for _, u := range unused {
		f.Users = append(f.Users, u)
	}
	return f, err
}

// presences returns the presences of an instance, as users without a use, by
// incarnation. An incarnation that is asked for and belongs to another instance is
// an error.
func (b *Bus) presences(ctx context.Context, s *snapshot, service, instance, incarnation string) (map[string]User, error) {
	pattern := b.cfg.Names.Presence(service, instance, "*")
	if incarnation != "" {
		if err := ValidToken(incarnation); err != nil {
			return nil, err
		}
		pattern = b.cfg.Names.Presence(service, "*", incarnation)
	}
	out, other := map[string]User{}, ""
	err := s.all(ctx, pattern, func(r record) {
		e, ok := b.fleetEvent(ctx, r)
		if !ok {
			return
		}
		if e.Presence.Instance != instance {
			other = e.Presence.Instance
		}
		u := User{Presence: *e.Presence, RenewedAt: e.At, Problem: e.Problem}
		u.Use.Service, u.Use.Instance, u.Use.Incarnation = service, instance, e.Presence.Incarnation
		out[u.Use.Incarnation] = u
	})
	if err == nil && other != "" {
		err = fmt.Errorf("incarnation %s is of instance %s", incarnation, other)
	}
	return out, err
}
