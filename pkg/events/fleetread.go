package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Fleet returns all that was stored about the users of a secret before the call,
// or an error, which wraps [ErrIncomplete] when a later call may succeed. What it
// costs grows with the users of the secret, and with the instances that have an
// older client.
//
// A user without a presence has a zero RenewedAt and a Problem. Instances with an
// older client are users without an incarnation, and accept every version; they
// are known while their lease lasts. One whose report was not understood is a user of
// every secret.
func (b *Bus) Fleet(ctx context.Context, id secret.ID) (Fleet, error) {
	if err := id.Validate(); err != nil {
		return Fleet{}, fmt.Errorf("read the fleet: %w", err)
	}
	f := Fleet{SecretID: id}
	c, _, err := b.confirmed(ctx)
	if err == nil || errors.Is(err, errUnconfirmed) {
		f.Confirmed, f.ConfirmedBy = c.Since, c.By
		err = b.readUsers(ctx, &f)
	}
	if err == nil {
		err = b.readOlderUsers(ctx, &f)
	}
	if err != nil {
		return Fleet{}, wrap("read the fleet of "+string(id), err)
	}
	return f, nil
}

// readUsers reads the uses of the secret, and then the presences of the
// incarnations that they name.
func (b *Bus) readUsers(ctx context.Context, f *Fleet) error {
	s, err := b.usesBehindBarrier(ctx)
	if err != nil {
		return err
	}
	f.Seq, f.At = s.seq, s.at
	uses, info, err := s.list(ctx, b.cfg.Names.Use(f.SecretID.Key(), "*", "*"))
	if err != nil {
		return err
	}
	f.Since, f.Full = info.Created, info.Config.MaxMsgs > 0 && info.State.Msgs >= uint64(info.Config.MaxMsgs)
	err = s.read(ctx, uses, func(r record) {
		if u, ok := b.userOf(ctx, r); ok {
			f.Users = append(f.Users, u)
		}
	})
	if err == nil {
		err = b.readUnread(ctx, s, f)
	}
	if err != nil {
		return err
	}
	return b.readPresences(ctx, s, f.Users)
}

// usesBehindBarrier publishes the barrier of the stream of uses and reads it
// again: its time, and another process may have published it since.
func (b *Bus) usesBehindBarrier(ctx context.Context) (*snapshot, error) {
	s, err := b.behindBarrier(ctx, b.cfg.Names.UsesStream(), b.cfg.Names.barrier())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		a, err := b.lastOf(ctx, s.stream, []string{s.barrier})
		if err != nil {
			return nil, err
		}
		if len(a.records) == 1 && a.records[0].seq >= s.seq {
			s.seq, s.at = a.records[0].seq, a.records[0].at
			return s, nil
		}
		if !backoff.Pause(ctx, snapshotPause) {
			return nil, fmt.Errorf("%w: no replica has the barrier at sequence %d", ErrIncomplete, s.seq)
		}
	}
}

// userOf returns the user whose use a record holds, and false for a barrier.
func (b *Bus) userOf(ctx context.Context, r record) (User, bool) {
	e, ok := b.fleetEvent(ctx, r)
	if !ok || e.Use == nil {
		return User{}, false
	}
	return User{Use: *e.Use, UsedAt: e.At, Problem: e.Problem}, true
}

// noPresence is the problem of a use of which nothing says that its process lives.
const noPresence = "no presence of the incarnation is stored"

// readPresences completes users with the presences of their incarnations.
func (b *Bus) readPresences(ctx context.Context, s *snapshot, users []User) error {
	index := make(map[string]*User, len(users)) // :: subject of the presence → user
	subjects := make([]string, 0, len(users))
	for i := range users {
		u := &users[i]
		if u.Use.Instance != "" {
			subject := b.cfg.Names.Presence(u.Use.Service, u.Use.Instance, u.Use.Incarnation)
			index[subject], subjects = u, append(subjects, subject)
		}
	}
	err := s.read(ctx, subjects, func(r record) {
		e, ok := b.fleetEvent(ctx, r)
		u := index[r.subject]
		if !ok || e.Presence == nil || u == nil {
			return
		}
		u.Presence, u.RenewedAt = *e.Presence, e.At
		if u.Problem == "" {
			u.Problem = e.Problem
		}
	})
	for i := range users {
		if users[i].RenewedAt.IsZero() && users[i].Problem == "" {
			users[i].Problem = noPresence
		}
	}
	return err
}

// readOlderUsers adds the instances whose client knows neither presence nor use. A
// report is there for as long as its lease lasts, so all of them live.
func (b *Bus) readOlderUsers(ctx context.Context, f *Fleet) (err error) {
	f.FullBy, err = b.reports(ctx, func(r Report, rec record) {
		u := User{UsedAt: rec.at, RenewedAt: rec.at, Problem: r.Problem, Presence: Presence{Service: r.Service, Instance: r.Instance, StartedAt: r.StartedAt, At: r.At}}
		u.Presence.Lease = 1 + max(0, int(f.At.Sub(rec.at)/time.Second))
		u.Use = Use{Running: Running{SecretID: f.SecretID}, Service: r.Service, Instance: r.Instance, PastFence: PastFenceServe, Joined: true}
		f.Users = slices.DeleteFunc(f.Users, func(other User) bool { return other.Problem == unreadProblem && u.recorded(other) })
		if r.Problem != "" {
			f.Users = append(f.Users, u)
			return
		}
		for _, running := range r.Secrets {
			if running.SecretID == f.SecretID {
				u.Use.Running = running
				f.Users = append(slices.DeleteFunc(f.Users, u.recorded), u)
			}
		}
	})
	return err
}

// recorded reports whether other is the record of u, an instance with an older
// client.
func (u User) recorded(other User) bool {
	return other.Use.Incarnation == OlderIncarnation(u.Use.Instance) && other.Use.Service == u.Use.Service && other.Use.Instance == u.Use.Instance
}

// WatchFleet calls fn with every record of the stream of uses, in the order of
// their sequences: those that are there, Synced once, then every new one, until
// ctx ends (it returns nil) or fn fails. A record that is not understood is passed
// on with Problem set. Purged records are not announced, nor are the reports of
// older clients. When the connection or the stream was lost the watch begins anew,
// with Since and without a second Synced.
func (b *Bus) WatchFleet(ctx context.Context, fn func(FleetEvent) error) error {
	n, synced := b.cfg.Names, false
	return b.watch(ctx, n.UsesStream(), []string{n.Presence("*", "*", "*"), n.Use("*", "*", "*")}, watchFuncs{
		begin: func(since time.Time) error { return fn(FleetEvent{Since: since}) },
		message: func(m message) error {
			e, ok := b.fleetEvent(ctx, m.record)
			if !ok {
				return nil
			}
			return fn(e)
		},
		synced: func() error {
			if synced {
				return nil
			}
			synced = true
			return fn(FleetEvent{Synced: true})
		},
	})
}

// fleetEvent returns what a record of the stream of uses says, and false for a
// barrier.
func (b *Bus) fleetEvent(ctx context.Context, r record) (FleetEvent, bool) {
	t := strings.Split(strings.TrimPrefix(r.subject, b.cfg.Names.prefix), ".")
	e := FleetEvent{Seq: r.seq, At: r.at}
	var err error
	switch {
	case len(t) != 4 || r.subject == b.cfg.Names.barrier():
		return e, false
	case t[0] == "report":
		e.Presence = &Presence{}
		*e.Presence, err = decodePresence(t[1], t[2], t[3], r.body)
	default:
		e.Use = &Use{}
		*e.Use, err = decodeUse(secret.Key(t[1]), t[2], t[3], r.body)
	}
	if err != nil {
		b.note(ctx, r.subject, err)
		e.Problem = err.Error()
	}
	return e, true
}

// decodePresence returns the presence of an incarnation. With a [rejection] it has
// the names of the subject, and nothing of the body.
func decodePresence(service, instance, incarnation string, body []byte) (Presence, error) {
	named := Presence{Service: service, Instance: instance, Incarnation: incarnation}
	var p Presence
	switch {
	case len(body) > MaxRecordSize:
		return named, reject(rejectOversized, "%d bytes, the limit is %d", len(body), MaxRecordSize)
	case json.Unmarshal(body, &p) != nil:
		return named, reject(rejectMalformed, "the presence does not decode")
	case p.validate() != nil:
		return named, reject(rejectMalformed, "the presence has a name, a lease or a process that is malformed")
	case p.Service != service || p.Instance != instance || p.Incarnation != incarnation:
		return named, reject(rejectSubject, "the presence is of another incarnation than its subject says")
	}
	return p, nil
}

// decodeUse returns the use of a secret by an incarnation. With a [rejection] it
// has the names of the subject, and the instance if the body has one: it may run
// and accept any version.
func decodeUse(key secret.Key, service, incarnation string, body []byte) (Use, error) {
	id, err := secret.IDFromKey(key)
	named := Use{Running: Running{SecretID: id}, Service: service, Incarnation: incarnation, PastFence: PastFenceServe}
	if err != nil {
		return named, reject(rejectSubject, "the subject names no secret")
	}
	if len(body) > MaxRecordSize {
		return named, reject(rejectOversized, "%d bytes, the limit is %d", len(body), MaxRecordSize)
	}
	var u Use
	if json.Unmarshal(body, &u) != nil {
		return named, reject(rejectMalformed, "the use does not decode")
	}
	if ValidToken(u.Instance) == nil {
		named.Instance = u.Instance
	}
	if u.validate() != nil {
		return named, reject(rejectMalformed, "the use has an ID, a status or a time that is malformed")
	}
	if u.SecretID != id || u.Service != service || u.Incarnation != incarnation {
		return named, reject(rejectSubject, "the use is of another secret or incarnation than its subject says")
	}
	if u.PastFence != PastFenceRefuse {
		u.PastFence = PastFenceServe
	}
	u.RetiredUses = validRetiredUses(u.RetiredUses)
	return u, nil
}
