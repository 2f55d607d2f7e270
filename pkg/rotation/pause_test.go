package rotation_test

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAPauseHoldsScheduledRotationsOnly: the timer of one that is due stays, and what a
// person asks for does not wait.
func TestAPauseHoldsScheduledRotationsOnly(t *testing.T) {
	t.Parallel()
	x := newRig(t, func(c *rotation.Config) {
		st, _ := c.Stores.Get("mem")
		c.Catalog, c.Stores = rotation.Configured(t, st, secret.Spec{ID: "ID", Store: "mem", Services: []string{"api"}, Create: true, TTL: time.Nanosecond, RefreshMargin: -1, MaxJitter: -1})
	})
	pause := func(paused bool) {
		t.Helper()
		if err := x.bus.SetPause(t.Context(), events.Pause{SecretID: "ID", Paused: paused, By: "/test/alice", Reason: "freeze", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	rotates := func(why events.Reason, want rotation.Outcome) {
		t.Helper()
		got, err := x.r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: x.current(t), Reason: why}})
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", why, got, err, want)
		}
	}
	pause(true)
	rotates(events.ReasonNearExpiry, rotation.OutcomePaused)
	if timer, err := x.bus.Timer(t.Context(), events.TypeNearExpiry, "ID"); err != nil || !timer.At.After(time.Now()) {
		t.Errorf("the timer of a paused secret: %+v, %v", timer, err)
	}
	rotates(events.ReasonExpired, rotation.OutcomePaused)
	rotates(events.ReasonManual, rotation.OutcomeRotated)
	rotates(events.ReasonEmergency, rotation.OutcomeRotated)
	pause(false)
	rotates(events.ReasonNearExpiry, rotation.OutcomeRotated)
}
