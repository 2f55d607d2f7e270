package rollout

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestWhatIsPresumed: an operator said that an instance has ended after an hour of silence.
// The one in question was heard of an hour ago at the latest.
func TestWhatIsPresumed(t *testing.T) {
	t.Parallel()
	unjoined := func(u *events.User) { // as the bus returns a use that does not decode
		u.Use = events.Use{Running: events.Running{SecretID: "S"}, Service: "api", Incarnation: "x", PastFence: events.PastFenceServe}
		u.Presence, u.RenewedAt, u.Problem = events.Presence{}, time.Time{}, "torn"
	}
	for name, tt := range map[string]struct {
		u        events.User
		presumed bool
	}{
		"one that serves on":                        {user(using("v1"), lastly, serves), true},
		"one that claims too long a fence":          {user(using("v1"), lastly, func(u *events.User) { u.Use.Fence = 1 << 30 }), true},
		"one that is not understood":                {user(using("v1"), lastly, garble), false},
		"one that is not understood and not joined": {user(using("v1"), lastly, unjoined), false},
		"one of which no presence is stored": {user(using("v1"), lastly, func(u *events.User) {
			u.Presence, u.RenewedAt, u.Problem = events.Presence{}, time.Time{}, "no presence"
		}), false},
	} {
		q := question()
		api(&q, secret.Subscriber{PresumedEndedAfter: time.Hour})
		s := q.Ask(fleetOf(using("v2"), tt.u))
		if (len(s.Presumed) == 1) != tt.presumed || (len(s.Blocking) == 0) != tt.presumed {
			t.Errorf("%s: presumed %v, blocking %v, want it presumed: %t", name, s.Presumed, s.Blocking, tt.presumed)
		}
	}
}
