//go:build !race

package notify

import (
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// discover has the log say what a secret says of itself.
func (s *site) discover(e events.Event) {
	s.t.Helper()
	last, err := s.bus.Last(s.t.Context(), events.TypeDiscovered, e.Data.SecretID)
	if err == nil {
		_, err = s.bus.PublishAfter(s.t.Context(), e, last.Seq)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func tagged(services ...string) secret.Spec {
	return secret.Spec{ID: id, Store: "mem", Path: "p", Services: services, Grace: 10 * time.Minute, Deadline: time.Hour, Fence: time.Second}
}

// TestADiscoveredSecretIsFollowed: a notifier that has no other source takes the
// services and the times of a rollout from the log.
func TestADiscoveredSecretIsFollowed(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		p := s.start().ready()
		s.discover(events.Discovery("/test/scheduler", time.Now(), tagged("api", "billing")))
		s.announce(id, "v2", "v1")
		s.until("both are told", func() bool { return s.told("api") == "v2" && s.told("billing") == "v2" })
		s.runs("api", "1", "v2", id)
		s.becomes(id, "v2", events.RolloutRolling)
		if got := p.status().Blockers; len(got) != 1 || got[0].Service != "billing" {
			t.Errorf("it is held back by %v", got)
		}
		s.discover(events.Discovery("/test/scheduler", time.Now(), tagged("api")))
		s.becomes(id, "v2", events.RolloutRolling, events.RolloutConverged)
		at := s.last(id).Rollout.RetireAt
		if d := at.Sub(s.last(id).Rollout.ConvergedAt); d != 10*time.Minute {
			t.Errorf("it is retired after %s, want its grace of ten minutes", d)
		}
	})
}

// TestADiscoveredSecretIsKnownFromTheStart: also to a notifier that starts after
// it was discovered, and when the configuration says something else, that holds.
func TestADiscoveredSecretIsKnownFromTheStart(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.discover(events.Discovery("/test/scheduler", time.Now(), tagged("api")))
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		s.until("it is told", func() bool { return s.told("api") == "v2" })
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"configured"}})
		if got, err := p.subscribers(t.Context(), id); err != nil || !slices.Equal(got, []string{"configured"}) {
			t.Errorf("subscribers are %v, err %v", got, err)
		}
	})
}

// TestASecretThatIsGoneIsNotFollowed: no service is told of what is managed no
// longer, and its rollout stays where it is.
func TestASecretThatIsGoneIsNotFollowed(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		p := s.start().ready()
		s.discover(events.Discovery("/test/scheduler", time.Now(), tagged("api")))
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", events.RolloutRolling)
		s.discover(events.Gone("/test/scheduler", time.Now(), tagged()))
		s.runs("guest", "1", "v2", id)
		live(10 * time.Minute)
		s.becomes(id, "v2", events.RolloutRolling)
		if got, err := p.subscribers(t.Context(), id); err != nil || !slices.Equal(got, []string{"guest"}) {
			t.Errorf("subscribers are %v, err %v", got, err)
		}
	})
}

// TestAForgedDiscoveryIsNotBelieved: the services of a secret are only those of
// which a trusted key has signed.
func TestAForgedDiscoveryIsNotBelieved(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		p := s.start().ready()
		stranger, err := events.GenerateSigner()
		if err != nil {
			t.Fatal(err)
		}
		forger := s.srv.Bus(stranger, stranger)
		if _, err := forger.PublishAfter(t.Context(), events.Discovery("/evil", time.Now(), tagged("evil")), 0); err != nil {
			t.Fatal(err)
		}
		live(time.Minute)
		if got, err := p.subscribers(t.Context(), id); err != nil || len(got) != 0 {
			t.Errorf("subscribers are %v, err %v", got, err)
		}
	})
}
