//go:build !race

package notify

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// behind is a bus whose server's clock is behind that of the notifier.
type behind struct {
	Bus
	by time.Duration
}

func (b behind) Now(ctx context.Context) (time.Time, error) {
	now, err := b.Bus.Now(ctx)
	return now.Add(-b.by), err
}

func (b behind) WatchFleet(ctx context.Context, fn func(events.FleetEvent) error) error {
	return b.Bus.WatchFleet(ctx, func(e events.FleetEvent) error {
		if !e.At.IsZero() {
			e.At = e.At.Add(-b.by)
		}
		return fn(e)
	})
}

// TestANotifierWhoseClockIsAheadForgetsNoLiveInstance: an instance that refuses past its
// fence is forgotten once that has ended, by the clock of the server.
func TestANotifierWhoseClockIsAheadForgetsNoLiveInstance(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Fence: time.Hour})
		refuses := func(u *events.Use) { u.PastFence, u.Fence = events.PastFenceRefuse, 3600 }
		s.runs("api", "1", "v2", id)
		s.runs("api", "2", "v1", id)
		s.use("api", "2", "v1", refuses, id)
		s.start(wrap(func(b Bus) Bus { return behind{b, 2 * time.Hour} })).ready()
		s.announce(id, "v2", "v1")
		for range 12 {
			live(20 * time.Second)
			f, err := s.bus.Fleet(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(f.Users, func(u events.User) bool { return u.Use.Instance == "2" && u.Problem == "" }) {
				t.Fatalf("the records of a live instance are gone: %+v", f.Users)
			}
		}
		live(time.Hour)
		s.becomes(id, "v2", rolling, stalled) // it runs v1
	})
}

func TestTheServersClock(t *testing.T) {
	t.Parallel()
	var c serverClock
	at := time.Now().Add(-time.Hour)
	c.hear(at)
	if now := c.now(); now.Before(at) || now.After(at.Add(time.Minute)) {
		t.Errorf("after the server said %s it is %s", at, now)
	}
	c.hear(at.Add(-time.Hour)) // a record of the past
	if now := c.now(); now.Before(at) {
		t.Errorf("a record of the past set it to %s", now)
	}
	later := at.Add(10 * time.Minute)
	c.hear(later)
	if now := c.now(); now.Before(later) {
		t.Errorf("after the server said %s it is %s", later, now)
	}
}
