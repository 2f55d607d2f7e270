package operator

import (
	"errors"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestForgetRemovesWhatItShows: every incarnation of the instance, with what it
// used, and nothing of one that renews in between.
func TestForgetRemovesWhatItShows(t *testing.T) {
	t.Parallel()
	bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	p := events.Presence{Service: "api", Instance: "one", Incarnation: "new", StartedAt: time.Now(), At: time.Now(), Lease: 3600}
	ended := p
	ended.Incarnation, ended.Ended = "before", true
	seq, err := bus.Join(t.Context(), p)
	if err == nil {
		_, err = bus.Join(t.Context(), ended)
	}
	for _, id := range []secret.ID{"A", "B"} {
		if err == nil {
			err = bus.WriteUse(t.Context(), events.Use{Running: events.Running{SecretID: id, VersionID: "v1", Status: events.StatusApplied}, Service: "api", Instance: "one", Incarnation: "new"})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	read := func() ([]Forgotten, uint64) {
		t.Helper()
		f, err := bus.Instance(t.Context(), "api", "one", "")
		if err != nil {
			t.Fatal(err)
		}
		return toForget(f, "/test/alice", "the host is gone", time.Now()), f.Seq
	}
	all, upTo := read()
	if len(all) != 2 || all[0].State != rollout.InstanceEnded || all[1].State != rollout.InstanceLive || len(all[1].Used) != 2 {
		t.Fatalf("got %+v", all)
	}
	if got, want := Describe(all), "incarnation before (ended) used no secret; incarnation new (live) used A v1, B v1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := bus.Renew(t.Context(), p, seq); err != nil {
		t.Fatal(err)
	}
	if err := forget(t.Context(), bus, all, upTo); !errors.Is(err, events.ErrConflict) {
		t.Errorf("an instance that has renewed: %v, want a conflict", err)
	}
	if all, upTo = read(); len(all) != 1 || len(all[0].Used) != 2 {
		t.Fatalf("left are %+v", all)
	}
	if err := forget(t.Context(), bus, all, upTo); err != nil {
		t.Fatal(err)
	}
	if all, _ := read(); len(all) != 0 {
		t.Errorf("left are %+v", all)
	}
}

func TestConfirmFleetDoesNothingTwice(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	bus := srv.NewBus(events.StreamOptions{})
	confirms := func(when string, want bool) {
		t.Helper()
		if _, done, err := ConfirmFleet(t.Context(), bus, "/test/alice", "all were restarted"); err != nil || done == want {
			t.Errorf("%s: confirmed %t, %v", when, !done, err)
		}
	}
	confirms("the first stream", false)
	js, err := srv.Connect().JetStream()
	if err == nil {
		err = js.DeleteStream(bus.Names().UsesStream())
	}
	if err == nil {
		err = bus.EnsureStreams(t.Context(), events.StreamOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	confirms("after it was lost", true)
	confirms("again", false)
}
