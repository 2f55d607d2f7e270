package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

func presence(instance string) events.Presence {
	return events.Presence{Service: "api", Instance: instance, Incarnation: instance + "-1", StartedAt: time.Now(), At: time.Now(), Lease: 30}
}

func use(instance string, of secret.ID, v secret.VersionID) events.Use {
	return events.Use{
		Running: events.Running{SecretID: of, VersionID: v, Status: events.StatusApplied, At: time.Now()},
		Service: "api", Instance: instance, Incarnation: instance + "-1", Accepts: []secret.VersionID{}, PastFence: events.PastFenceRefuse, Fence: 3600, Joined: true,
	}
}

// join stores the presence of an instance and then its uses of secrets, and returns
// the sequence of the presence.
func join(t *testing.T, b *events.Bus, instance string, ids ...secret.ID) uint64 {
	t.Helper()
	seq, err := b.Join(t.Context(), presence(instance))
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range ids {
		if err := b.WriteUse(t.Context(), use(instance, of, "v1")); err != nil {
			t.Fatal(err)
		}
	}
	return seq
}

func fleet(t *testing.T, b *events.Bus, of secret.ID) events.Fleet {
	t.Helper()
	f, err := b.Fleet(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// users returns a line for each user of a secret, in order.
func users(t *testing.T, b *events.Bus, of secret.ID) []string {
	t.Helper()
	var out []string
	for _, u := range fleet(t, b, of).Users {
		line := u.Use.Service + "/" + u.Use.Instance + "/" + u.Use.Incarnation + " " + string(u.Use.VersionID)
		if u.Problem != "" {
			line += " (" + u.Problem + ")"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func TestFleetHasTheUsersOfOneSecret(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	other := srv.Bus(nil, srv.Signer)
	join(t, b, "one", "a", "b")
	first := fleet(t, b, "a")
	join(t, b, "two", "a", "a/b")
	seq := join(t, b, "three", "b")
	f := fleet(t, other, "a")
	if got, want := users(t, b, "a"), []string{"api/one/one-1 v1", "api/two/two-1 v1"}; !slices.Equal(got, want) {
		t.Errorf("users %v, want %v", got, want)
	}
	if got := users(t, b, "unused"); got != nil {
		t.Errorf("users %v of a secret that has none", got)
	}
	if f.SecretID != "a" || f.Full || f.Seq <= seq || f.Since.IsZero() || !f.Since.Equal(first.Since) || f.Since.After(first.At) || !f.At.After(first.At) {
		t.Errorf("the fleet is %+v after %+v, and three joined with sequence %d", f, first, seq)
	}
	for _, u := range f.Users {
		if u.RenewedAt.Before(f.Since) || u.UsedAt.Before(u.RenewedAt) || u.UsedAt.After(f.At) || u.Presence.Lease != 30 || !u.Use.Joined {
			t.Errorf("%+v between %s and %s", u, f.Since, f.At)
		}
	}
	if _, err := b.Fleet(t.Context(), "no\nsecret"); err == nil {
		t.Error("there is a fleet of what is not a secret")
	}
}

// TestFleetInSeveralRequests: more users than one request asks for, and more bytes
// than one answer holds.
func TestFleetInSeveralRequests(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{Memory: true})
	const instances = 1100
	var want []string
	for n := range instances {
		name := fmt.Sprintf("i%04d", n)
		u := use(name, id, "v1")
		u.Reason = strings.Repeat("x", 1500)
		if err := b.WriteUse(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		join(t, b, name)
		want = append(want, "api/"+name+"/"+name+"-1 v1")
	}
	if got := users(t, b, id); !slices.Equal(got, want) {
		t.Errorf("%d users, want %d", len(got), len(want))
	}
}

func TestRenewIsACompareAndSet(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	seq := join(t, b, "one", id)
	p := presence("one")
	next, err := b.Renew(t.Context(), p, seq)
	if err != nil || next <= seq {
		t.Fatalf("Renew() = %d, %v after %d", next, err, seq)
	}
	refused := func(when string, after uint64) {
		t.Helper()
		if _, err := b.Renew(t.Context(), p, after); !errors.Is(err, events.ErrConflict) {
			t.Errorf("%s: Renew() = %v, want a conflict", when, err)
		}
	}
	refused("the presence was renewed since", seq)
	if err := b.Forget(t.Context(), "api", "one", "one-1", []secret.ID{id}, next); err != nil {
		t.Fatal(err)
	}
	refused("the presence was purged", next)
	next = join(t, b, "one", id)
	js, err := srv.Connect().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(b.Names().UsesStream()); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if err := b.EnsureStreams(t.Context(), events.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	refused("the stream was lost", next)
	if f := fleet(t, b, id); f.Since.Before(before) || len(f.Users) != 0 {
		t.Errorf("the fleet of a new stream is %+v", f)
	}
	p.Ended = true
	if _, err := b.Renew(t.Context(), p, join(t, b, "one", id)); err != nil {
		t.Fatal(err)
	}
	if f := fleet(t, b, id); len(f.Users) != 1 || !f.Users[0].Presence.Ended {
		t.Errorf("the fleet is %+v, want one user that has ended", f)
	}
}

func TestRecordsAreHeldToTheirBounds(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	for name, change := range map[string]func(*events.Use){
		"an odd service":     func(u *events.Use) { u.Service = "api.one" },
		"barriers' service":  func(u *events.Use) { u.Service = "_barrier" },
		"no incarnation":     func(u *events.Use) { u.Incarnation = "" },
		"an odd secret":      func(u *events.Use) { u.SecretID = "a\nb" },
		"a negative fence":   func(u *events.Use) { u.Fence = -1 },
		"too many versions":  func(u *events.Use) { u.Accepts = slices.Repeat([]secret.VersionID{"v"}, 17) },
		"a very long reason": func(u *events.Use) { u.Reason = strings.Repeat("x", 2049) },
		"escapes":            func(u *events.Use) { u.Reason = strings.Repeat("\x01", 2048) },
	} {
		u := use("one", id, "v1")
		change(&u)
		if err := b.WriteUse(t.Context(), u); err == nil {
			t.Errorf("%s is written", name)
		}
	}
	for name, change := range map[string]func(*events.Presence){
		"no lease":       func(p *events.Presence) { p.Lease = 0 },
		"an odd name":    func(p *events.Presence) { p.Instance = "a*" },
		"a long boot ID": func(p *events.Presence) { p.Process = &events.Process{PID: 1, BootID: strings.Repeat("x", 65)} },
	} {
		p := presence("one")
		change(&p)
		if _, err := b.Join(t.Context(), p); err == nil {
			t.Errorf("%s is written", name)
		}
	}
}

func TestAFullStreamStillAcceptsWhatReplaces(t *testing.T) {
	t.Parallel()
	for _, memory := range []bool{false, true} {
		b := eventstest.NewServer(t).NewBus(events.StreamOptions{UsesRecords: 3, Memory: memory})
		if fleet(t, b, id).Full { // which stores the barrier
			t.Error("a new stream is full")
		}
		seq := join(t, b, "one", id)
		err := b.WriteUse(t.Context(), use("one", "other", "v1"))
		if !errors.Is(err, events.ErrFull) || !strings.Contains(err.Error(), "USES") || !strings.Contains(err.Error(), "uses_records") {
			t.Errorf("a new record: %v, want the stream's name and what to do", err)
		}
		if err := b.WriteUse(t.Context(), use("one", id, "version-2-with-a-longer-name")); err != nil {
			t.Errorf("a use that replaces: %v", err)
		}
		if _, err := b.Renew(t.Context(), presence("one"), seq); err != nil {
			t.Errorf("a renewal: %v", err)
		}
		if f := fleet(t, b, id); !f.Full || len(f.Users) != 1 {
			t.Errorf("the fleet is %+v, want one user and a full stream", f)
		}
	}
}

// watchFleet runs a watch until the test ends.
func watchFleet(t *testing.T, b *events.Bus) <-chan events.FleetEvent {
	t.Helper()
	seen := make(chan events.FleetEvent, 64)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- b.WatchFleet(ctx, func(e events.FleetEvent) error { seen <- e; return nil }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	return seen
}

func TestWatchFleetHasEveryRecordInOrder(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	join(t, b, "one", "a")
	if err := b.WriteUse(t.Context(), use("one", "a", "v2")); err != nil {
		t.Fatal(err)
	}
	f := fleet(t, b, "a") // its barrier is not an event
	seen := watchFleet(t, b)
	if e := <-seen; !e.Since.Equal(f.Since) || e.Use != nil || e.Presence != nil || e.Synced {
		t.Errorf("the watch begins with %+v, want the time of the stream", e)
	}
	p, u := <-seen, <-seen
	if p.Presence == nil || p.Presence.Instance != "one" || u.Use == nil || u.Use.VersionID != "v2" || p.Seq >= u.Seq || p.At.After(u.At) || u.At.After(f.At) {
		t.Errorf("%+v and %+v, want the presence and then the use", p, u)
	}
	if e := <-seen; !e.Synced {
		t.Errorf("%+v, want the watch synced", e)
	}
	if _, err := srv.Connect().Request(b.Names().Use("a", "api", "two-1"), []byte("{"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if e := <-seen; e.Problem == "" || e.Use == nil || e.Use.Incarnation != "two-1" || e.Seq <= f.Seq {
		t.Errorf("%+v, want a use that is not understood", e)
	}
}

func TestWatchFleetSaysThatTheStreamWasLost(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	join(t, b, "one", "a")
	seen := watchFleet(t, b)
	before := (<-seen).Since
	for e := range seen {
		if e.Synced {
			break
		}
	}
	js, err := srv.Connect().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(b.Names().UsesStream()); err != nil {
		t.Fatal(err)
	}
	if e := <-seen; !e.Since.After(before) {
		t.Errorf("%+v, want a later stream than that of %s", e, before)
	}
	join(t, b, "two")
	if e := <-seen; e.Presence == nil || e.Presence.Instance != "two" {
		t.Errorf("%+v, want the presence of the instance that joined since", e)
	}
}

// TestOlderClientsAreUsers: they serve, accept every version, and have no
// incarnation.
func TestOlderClientsAreUsers(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	nc := srv.Connect()
	join(t, b, "new", id)
	for _, instance := range []string{"old", "gone"} {
		if err := b.Report(t.Context(), events.Report{Service: "api", Instance: instance, At: time.Now(), Secrets: []events.Running{
			{SecretID: "other", VersionID: "v1", Status: events.StatusApplied}, {SecretID: id, VersionID: "v2", Status: events.StatusApplied},
		}}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Withdraw(t.Context(), "api", "gone"); err != nil {
		t.Fatal(err)
	}
	recorded := use("old", id, "v1") // by a notifier, of an earlier report
	recorded.Incarnation = events.OlderIncarnation("old")
	if err := b.WriteUse(t.Context(), recorded); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request(b.Names().Report("web", "odd"), []byte("{"), time.Minute); err != nil {
		t.Fatal(err)
	}
	var old, odd events.User
	f := fleet(t, b, id)
	for _, u := range f.Users {
		switch u.Use.Instance {
		case "old":
			old = u
		case "odd":
			odd = u
		}
	}
	if len(f.Users) != 3 || old.Use.VersionID != "v2" || old.Use.Incarnation != "" || old.Use.PastFence != events.PastFenceServe || old.Use.Accepts != nil || old.RenewedAt.IsZero() || old.Presence.Lease == 0 || old.Problem != "" {
		t.Errorf("%d users, that with an older client is %+v", len(f.Users), old)
	}
	if odd.Problem == "" || odd.Use.Service != "web" || odd.Use.SecretID != id {
		t.Errorf("the one that is not understood is %+v", odd)
	}
}

// TestARolloutThatDrainsIsANotification, and no other state of a rollout is.
func TestARolloutThatDrainsIsANotification(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	heard := make(chan events.Delivery, 4)
	stop, err := b.SubscribeNotify(t.Context(), "api", func(_ context.Context, d events.Delivery) { heard <- d })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	e := event(events.TypeRollout, "v2")
	e.Data.PreviousVersionID = "v1"
	for _, state := range []events.RolloutState{events.RolloutConverged, events.RolloutDraining} {
		e.Data.Rollout = &events.Rollout{State: state}
		err := b.Notify(t.Context(), "api", e, 7)
		if ok := err == nil; ok != (state == events.RolloutDraining) {
			t.Fatalf("Notify() of a rollout that is %s = %v", state, err)
		}
	}
	if d := <-heard; d.Event.Data.Rollout.State != events.RolloutDraining || d.Event.Data.PreviousVersionID != "v1" || d.Seq != 7 {
		t.Errorf("heard %+v", d)
	}
	if a, err := b.LastNotified(t.Context(), "api", e.Data.SecretID); err != nil || a.Event.Data.Rollout.State != events.RolloutDraining {
		t.Errorf("the last notification is %+v, %v", a, err)
	}
}

// TestNoHeaderOfARecordIsTakenForTheServers: a service may set every header.
func TestNoHeaderOfARecordIsTakenForTheServers(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	join(t, b, "one", id)
	forged := nats.NewMsg(b.Names().Use(id.Key(), "web", "forger"))
	for k, v := range map[string]string{
		"Status": "204", "Description": "EOB", "Nats-Num-Pending": "0", "Nats-UpTo-Sequence": "99999", "Nats-Last-Sequence": "3",
		"Nats-Subject": b.Names().Use(id.Key(), "api", "one-1"), "Nats-Sequence": "99999", "Nats-Time-Stamp": "2001-01-01T00:00:00Z",
	} {
		forged.Header.Set(k, v)
	}
	if _, err := srv.Connect().RequestMsg(forged, time.Minute); err != nil {
		t.Fatal(err)
	}
	join(t, b, "two", id)
	got := users(t, b, id)
	if len(got) != 3 {
		t.Errorf("users %v, want three", got)
	}
	for _, u := range fleet(t, b, id).Users {
		if u.UsedAt.Year() == 2001 {
			t.Errorf("%+v was stored when its author says", u)
		}
	}
}
