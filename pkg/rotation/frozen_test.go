package rotation_test

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAFreezeHoldsScheduledRotationsOnly: the timer of one that is due moves to the end
// of the freeze, and what a person asks for does not wait.
func TestAFreezeHoldsScheduledRotationsOnly(t *testing.T) {
	t.Parallel()
	freeze := &secret.Freeze{Reason: "year-end", From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour).Truncate(time.Second)}
	x := newRig(t, func(c *rotation.Config) {
		st, _ := c.Stores.Get("mem")
		c.Catalog, c.Stores = rotation.Configured(t, st, secret.Spec{
			ID: "ID", Store: "mem", Services: []string{"api"}, Create: true, TTL: time.Nanosecond, RefreshMargin: -1, MaxJitter: -1, Freezes: []*secret.Freeze{freeze},
		})
	})
	for why, want := range map[events.Reason]rotation.Outcome{
		events.ReasonNearExpiry: rotation.OutcomePaused, events.ReasonExpired: rotation.OutcomePaused,
		events.ReasonManual: rotation.OutcomeRotated, events.ReasonEmergency: rotation.OutcomeRotated,
	} {
		got, err := x.r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: x.current(t), Reason: why}})
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", why, got, err, want)
		}
	}
	if got, err := x.r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: x.current(t), Reason: events.ReasonNearExpiry}}); err != nil || got != rotation.OutcomePaused {
		t.Errorf("got %s, %v", got, err)
	}
	if timer, err := x.bus.Timer(t.Context(), events.TypeNearExpiry, "ID"); err != nil || !timer.At.Equal(freeze.To) {
		t.Errorf("the timer is at %s, %v, want %s", timer.At, err, freeze.To)
	}
}

// TestADisabledSecretIsNotRotatedByATimer: of before it was disabled, or removed from the
// configuration.
func TestADisabledSecretIsNotRotatedByATimer(t *testing.T) {
	t.Parallel()
	x := newRig(t, func(c *rotation.Config) {
		st, _ := c.Stores.Get("mem")
		c.Catalog, c.Stores = rotation.Configured(t, st, secret.Spec{ID: "ID", Store: "mem", Services: []string{"api"}, Create: true, TTL: time.Nanosecond, RefreshMargin: -1, MaxJitter: -1, Disabled: true})
	})
	for why, want := range map[events.Reason]rotation.Outcome{events.ReasonNearExpiry: rotation.OutcomeNotDue, events.ReasonManual: rotation.OutcomeRotated} {
		got, err := x.r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: x.current(t), Reason: why}})
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", why, got, err, want)
		}
	}
}
