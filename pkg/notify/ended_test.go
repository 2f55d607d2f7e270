//go:build !race

package notify

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAUseThatHasEndedHoldsNothingBack: the process lives, and does not use the secret any
// more. Once it is gone its records go too.
func TestAUseThatHasEndedHoldsNothingBack(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Grace: time.Minute})
		s.runs("api", "1", "v2", id)
		s.runs("api", "2", "v1", id)
		s.use("api", "2", "", func(u *events.Use) { u.Status, u.Ended = "", true }, id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		live(5 * time.Minute)
		s.becomes(id, "v2", rolling, converged, draining)
		s.mu.Lock()
		s.renewing["api/2"]() // it crashes
		s.mu.Unlock()
		live(15 * time.Minute)
		f, err := s.bus.Fleet(t.Context(), id)
		if err != nil || len(f.Users) != 1 {
			t.Errorf("the fleet is %+v, %v, want one user", f.Users, err)
		}
	})
}
