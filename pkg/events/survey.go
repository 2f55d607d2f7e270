package events

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ConsumerState is one durable consumer of a stream of the bus.
type ConsumerState struct {
	Stream string `json:"stream"`
	Name   string `json:"name"`
	// Known is whether this version of the program makes it, and Missing whether the
	// server does not have it although it should.
	Known   bool `json:"known"`
	Missing bool `json:"missing,omitempty"`
	// Served is whether a program waits for its messages.
	Served bool `json:"served"`
	// Waiting is how many messages it has not handed out.
	Waiting uint64 `json:"waiting"`
	// Idle is how long nothing has happened to it, by the clock of the server.
	Idle time.Duration `json:"idle"`
}

// Consumers returns the durable consumers of the streams of the bus: those that the
// program makes, and others. eventBridge says whether announcements are forwarded to
// Amazon EventBridge. It changes nothing.
func (b *Bus) Consumers(ctx context.Context, eventBridge bool) ([]ConsumerState, error) {
	known := b.cfg.Names.ConsumerConfigs(StreamOptions{EventBridge: eventBridge})
	var out []ConsumerState
	for _, c := range b.cfg.Names.StreamConfigs(StreamOptions{}) {
		all, err := b.consumers(ctx, c.Name, known[c.Name])
		if err != nil {
			return nil, wrap("list the consumers of stream "+c.Name, err)
		}
		out = append(out, all...)
	}
	return out, nil
}

func (b *Bus) consumers(ctx context.Context, stream string, known []jetstream.ConsumerConfig) ([]ConsumerState, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var out []ConsumerState
	err := WithPermission(b.nc, func() error {
		s, err := b.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		list := s.ListConsumers(ctx)
		for info := range list.Info() {
			if info.Config.Durable != "" {
				out = append(out, consumerState(stream, info))
			}
		}
		return list.Err()
	})
	for _, k := range known {
		i := slices.IndexFunc(out, func(c ConsumerState) bool { return c.Name == k.Durable })
		if i < 0 {
			out = append(out, ConsumerState{Stream: stream, Name: k.Durable, Known: true, Missing: true})
			continue
		}
		out[i].Known = true
	}
	return out, err
}

func consumerState(stream string, info *jetstream.ConsumerInfo) ConsumerState {
	last := info.Created
	for _, s := range []jetstream.SequenceInfo{info.Delivered, info.AckFloor} {
		if s.Last != nil && s.Last.After(last) {
			last = *s.Last
		}
	}
	now := info.TimeStamp
	if now.IsZero() {
		now = time.Now()
	}
	return ConsumerState{
		Stream: stream, Name: info.Name, Served: info.NumWaiting+info.NumAckPending > 0 || info.PushBound, Waiting: info.NumPending + uint64(max(info.NumAckPending, 0)), Idle: now.Sub(last),
	}
}

// DeleteConsumer removes a durable consumer. One that is gone already is success.
func (b *Bus) DeleteConsumer(ctx context.Context, stream, name string) error {
	err := b.js.DeleteConsumer(ctx, stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return wrap("delete consumer "+name+" of stream "+stream, err)
}

// Streams is [Bus.Health] without the probes: it reads the state of the streams of the
// bus, and changes nothing.
func (b *Bus) Streams(ctx context.Context) []StreamHealth {
	own := b.cfg.Names.StreamConfigs(StreamOptions{})
	out := make([]StreamHealth, len(own))
	var wg sync.WaitGroup
	for i, c := range own {
		wg.Go(func() {
			out[i].Stream = c.Name
			out[i].Err = WithPermission(b.nc, func() error {
				h := StreamHealth{Stream: c.Name}
				b.look(ctx, &h)
				err := h.Err
				h.Err = nil
				out[i] = h
				return err
			})
		})
	}
	wg.Wait()
	return out
}

// AccountUse is how much of what its account may store the bus has taken. A bound that
// is not positive is none.
type AccountUse struct {
	Bytes, MaxBytes         uint64
	Streams, MaxStreams     int
	Consumers, MaxConsumers int
}

// Account returns how much of its account the bus has taken.
func (b *Bus) Account(ctx context.Context) (u AccountUse, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err = WithPermission(b.nc, func() error {
		a, err := b.js.AccountInfo(ctx)
		if err != nil {
			return err
		}
		u = AccountUse{Bytes: a.Store, Streams: a.Streams, MaxStreams: a.Limits.MaxStreams, Consumers: a.Consumers, MaxConsumers: a.Limits.MaxConsumers}
		u.MaxBytes = uint64(max(a.Limits.MaxStore, 0))
		return nil
	})
	return u, wrap("read the limits of the account", err)
}

// Users returns the users of all secrets, each as [Bus.Fleet] has it. An incarnation
// that uses no secret has a user without one, and an instance whose client is older
// one without an incarnation, unless a notifier has recorded it.
func (b *Bus) Users(ctx context.Context) (Fleet, error) {
	s, err := b.usesBehindBarrier(ctx)
	if err != nil {
		return Fleet{}, wrap("read the fleet", err)
	}
	f := Fleet{Seq: s.seq, At: s.at}
	present := map[string]User{} // :: subject of the presence → user without a use
	err = s.all(ctx, b.cfg.Names.Presence("*", "*", "*"), func(r record) {
		if e, ok := b.fleetEvent(ctx, r); ok && e.Presence != nil {
			u := User{Presence: *e.Presence, RenewedAt: e.At, Problem: e.Problem}
			u.Use.Service, u.Use.Instance, u.Use.Incarnation = e.Presence.Service, e.Presence.Instance, e.Presence.Incarnation
			present[r.subject] = u
		}
	})
	if err != nil {
		return Fleet{}, wrap("read the fleet", err)
	}
	if err := b.usersOf(ctx, s, present, &f); err != nil {
		return Fleet{}, wrap("read the fleet", err)
	}
	f.FullBy, err = b.reports(ctx, func(r Report, rec record) {
		for _, running := range r.Secrets {
			u := User{UsedAt: rec.at, RenewedAt: rec.at, Problem: r.Problem, Presence: Presence{Service: r.Service, Instance: r.Instance, Lease: 1 + max(0, int(f.At.Sub(rec.at)/time.Second))}}
			u.Use = Use{Running: running, Service: r.Service, Instance: r.Instance, PastFence: PastFenceServe, Joined: true}
			f.Users = append(slices.DeleteFunc(f.Users, func(o User) bool { return u.recorded(o) && o.Use.SecretID == running.SecretID }), u)
		}
	})
	return f, wrap("read the fleet", err)
}

// usersOf appends the users by the uses on record, and then the incarnations that use
// nothing.
func (b *Bus) usersOf(ctx context.Context, s *snapshot, present map[string]User, f *Fleet) error {
	used := map[string]bool{}
	err := s.all(ctx, b.cfg.Names.Use("*", "*", "*"), func(r record) {
		u, ok := b.userOf(ctx, r)
		if !ok {
			return
		}
		subject := b.cfg.Names.Presence(u.Use.Service, u.Use.Instance, u.Use.Incarnation)
		p, known := present[subject]
		if !known {
			p.Problem = noPresence
		}
		used[subject] = true
		u.Presence, u.RenewedAt = p.Presence, p.RenewedAt
		if u.Problem == "" {
			u.Problem = p.Problem
		}
		f.Users = append(f.Users, u)
	})
	for subject, u := range present {
		if !used[subject] {
			f.Users = append(f.Users, u)
		}
	}
	return err
}
