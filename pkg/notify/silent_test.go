//go:build !race

package notify

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestASilentInstanceThatServesOnHoldsTheRetirementUp: its silence proves nothing,
// so it blocks until it says that it has ended, or a person forgets it.
func TestASilentInstanceThatServesOnHoldsTheRetirementUp(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Hour})
		s.ranOnce("paused", id)
		s.runs("api", "lives", "v1", id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.runs("api", "lives", "v2", id)
		live(50 * time.Minute)
		s.becomes(id, "v2", rolling)
		live(10 * time.Minute)
		s.becomes(id, "v2", rolling, stalled)
		if b := s.last(id).Rollout.Blocking; len(b) != 1 || b[0].Instance != "paused" || b[0].Reason != events.BlockSilent {
			t.Errorf("got %v", b)
		}
		live(24 * time.Hour)
		s.becomes(id, "v2", rolling, stalled)
		s.end("api", "paused")
		s.becomes(id, "v2", rolling, stalled, converged)
	})
}

// TestASilentInstanceThatRefusesHoldsTheRetirementUpForItsFence: until then the
// rollout waits, and does not page.
func TestASilentInstanceThatRefusesHoldsTheRetirementUpForItsFence(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const fence = 20 * time.Minute
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Minute, Fence: fence})
		s.use("api", "killed", "v1", func(u *events.Use) { u.PastFence, u.Fence = events.PastFenceRefuse, int(fence.Seconds()) }, id)
		s.join("api", "killed", lease)
		s.runs("api", "lives", "v1", id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.runs("api", "lives", "v2", id)
		s.becomes(id, "v2", rolling)
		live(lease)
		s.becomes(id, "v2", rolling, waiting)
		if b := s.last(id).Rollout.Blocking; len(b) != 1 || b[0].Instance != "killed" || b[0].Until.IsZero() {
			t.Errorf("got %v", b)
		}
		live(fence - time.Minute)
		s.becomes(id, "v2", rolling, waiting)
		live(time.Minute + fence/50)
		s.becomes(id, "v2", rolling, waiting, converged)
	})
}

// TestRecordsThatProveNothingAreForgotten: those of an instance that has ended, and
// those of one that refuses and has been silent for longer than its fence. Those of
// one that serves on stay.
func TestRecordsThatProveNothingAreForgotten(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.ranOnce("ended", id)
		s.end("api", "ended")
		s.ranOnce("serves", id)
		s.use("api", "refuses", "v1", func(u *events.Use) { u.PastFence, u.Fence = events.PastFenceRefuse, 1 }, id)
		s.join("api", "refuses", lease)
		s.start().ready()
		live(time.Hour)
		f, err := s.bus.Fleet(t.Context(), id)
		if err != nil || len(f.Users) != 1 || f.Users[0].Use.Instance != "serves" || f.Users[0].RenewedAt.IsZero() {
			t.Errorf("got %+v, %v", f.Users, err)
		}
	})
}

// TestAnOlderClientIsRecorded: what it reports outlives its lease.
func TestAnOlderClientIsRecorded(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Hour})
		p := s.start().ready()
		for _, instance := range []string{"old", "old2"} {
			r := events.Report{Service: "api", Instance: instance, At: time.Now(), Secrets: []events.Running{{SecretID: id, VersionID: "v1", Status: events.StatusApplied, At: time.Now()}}}
			if err := s.bus.Report(t.Context(), r, lease); err != nil {
				t.Fatal(err)
			}
		}
		s.until("the notifier has heard its own records of both", func() bool {
			p.tracker.mu.Lock()
			defer p.tracker.mu.Unlock()
			return len(p.tracker.fleet.of(id, time.Now()).Users) == 2
		})
		s.announce(id, "v2", "v1")
		s.runs("api", "new", "v2", id)
		s.becomes(id, "v2", rolling)
		live(10 * time.Minute)
		s.becomes(id, "v2", rolling)
		if b := p.status().Blockers; len(b) != 2 || b[0].Instance != "old" || b[0].Reason != events.BlockSilent || b[1].Instance != "old2" {
			t.Errorf("got %v, want both silent", b)
		}
	})
}
