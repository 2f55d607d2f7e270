//go:build !race

package notify

import (
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAConsumerIsWaitedForUntilItIsConfirmed, without paging; the notifier hears of it
// by itself.
func TestAConsumerIsWaitedForUntilItIsConfirmed(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Deadline: time.Minute, Grace: -1, Proof: secret.Proof{Consumers: []secret.Consumer{{Name: "erp"}}}})
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling, waiting)
		live(24 * time.Hour)
		s.confirm("erp", "v1")
		s.becomes(id, "v2", rolling, waiting)
		s.confirm("erp", "v2")
		s.becomes(id, "v2", rolling, waiting, converged, draining)
		// A later notifier reads what was confirmed before it started.
		p := s.start().ready()
		s.until("it has the confirmation", func() bool { return len(p.status().Blockers) == 0 })
	})
}

func (s *site) confirm(consumer string, v secret.VersionID) {
	s.t.Helper()
	err := s.bus.RecordConfirmed(s.t.Context(), events.Confirmed{SecretID: id, Consumer: consumer, VersionID: v, By: "/test", At: time.Now()})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestTheTimeOfAConsumerIsOver(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Deadline: time.Minute, Grace: -1, Proof: secret.Proof{Consumers: []secret.Consumer{{Name: "erp", After: 14 * 24 * time.Hour}}}})
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling, waiting)
		live(13 * 24 * time.Hour)
		s.becomes(id, "v2", rolling, waiting)
		live(24 * time.Hour)
		s.becomes(id, "v2", rolling, waiting, converged, draining)
	})
}

// TestASecretWithoutAKnownUserNeverPages: it is held, or goes by time.
func TestASecretWithoutAKnownUserNeverPages(t *testing.T) {
	for choice, want := range map[secret.NoSubscribers][]events.RolloutState{
		"": {rolling, waiting}, secret.NoSubscribersHold: {rolling, waiting}, secret.NoSubscribersRetire: {rolling, converged, draining},
	} {
		t.Run(string(choice), func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				s.configure(secret.Spec{ID: id, Store: "mem", Deadline: time.Minute, Proof: secret.Proof{NoSubscribers: choice}})
				s.start().ready()
				s.announce(id, "v2", "v1")
				live(24 * time.Hour)
				s.becomes(id, "v2", want...)
			})
		})
	}
}

// TestAJobNeedNotBeLive: its last run is waited for until it is over, and its records
// are purged after that.
func TestAJobNeedNotBeLive(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		job := map[string]secret.Subscriber{"api": {Kind: secret.KindJob, MaxRun: 3 * time.Hour}}
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Minute, Proof: secret.Proof{Subscribers: job}})
		s.ranOnce("nightly", id)
		live(lease)
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling, waiting)
		if b := s.last(id).Rollout.Blocking; len(b) != 1 || b[0].Instance != "nightly" || b[0].Until.IsZero() {
			t.Errorf("got %v", b)
		}
		live(3 * time.Hour)
		s.becomes(id, "v2", rolling, waiting)
		live(3 * time.Minute)
		s.becomes(id, "v2", rolling, waiting, converged)
		live(15 * time.Minute)
		if f, err := s.bus.Fleet(t.Context(), id); err != nil || len(f.Users) > 0 {
			t.Errorf("left are %+v, %v", f.Users, err)
		}
	})
}

// TestAFleetThatIsNotHeardFromPages: nothing says what runs there.
func TestAFleetThatIsNotHeardFromPages(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Minute, Proof: secret.Proof{Fleets: []string{"eu"}}})
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.runs("api", "one", "v2", id)
		live(time.Minute)
		s.becomes(id, "v2", rolling, stalled)
		reasons := func() (out []events.BlockReason) {
			for _, b := range s.last(id).Rollout.Blocking {
				out = append(out, b.Reason)
			}
			return out
		}
		if got := reasons(); !slices.Equal(got, []events.BlockReason{events.BlockFleet}) {
			t.Errorf("it is blocked by %v", got)
		}
		p := presenceOf("api", "two", time.Hour)
		p.Fleet = "eu"
		s.use("api", "two", "v2", nil, id)
		if _, err := s.bus.Join(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		s.becomes(id, "v2", rolling, stalled, converged)
	})
}
