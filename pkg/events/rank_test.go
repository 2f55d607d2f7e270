package events_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestATimerKeepsWhatWasAskedFor: what is armed over it, by a caller that may have read
// the past, does not lose an emergency, nor what a person asked for of the same version.
func TestATimerKeepsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	due := time.Now().Add(time.Hour)
	of := func(why events.Reason, v secret.VersionID) events.Event {
		e := event(events.TypeNearExpiry, v)
		e.Data.Reason = why
		return e
	}
	b := srv.NewBus(events.StreamOptions{})
	for name, c := range map[string]struct {
		waits, comes events.Event
		stays        bool
	}{
		"an emergency over a schedule":                   {of(events.ReasonEmergency, "v2"), of(events.ReasonNearExpiry, "v2"), true},
		"an emergency over the schedule before it":       {of(events.ReasonEmergency, "v2"), of(events.ReasonNearExpiry, "v1"), true},
		"an emergency over what a person asked for":      {of(events.ReasonEmergency, "v2"), of(events.ReasonManual, "v2"), true},
		"an emergency yields to its own next try":        {of(events.ReasonEmergency, "v2"), of(events.ReasonEmergency, "v2"), false},
		"what a person asked for over a schedule":        {of(events.ReasonManual, "v2"), of(events.ReasonNearExpiry, "v2"), true},
		"what a person asked for of a version before it": {of(events.ReasonManual, "v1"), of(events.ReasonNearExpiry, "v2"), false},
		"a schedule yields":                              {of(events.ReasonExpired, "v2"), of(events.ReasonManual, "v2"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := b.Disarm(t.Context(), events.TypeNearExpiry, id); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Arm(t.Context(), c.waits, due); err != nil {
				t.Fatal(err)
			}
			_, err := b.Arm(t.Context(), c.comes, due.Add(time.Hour))
			if errors.Is(err, events.ErrOutranked) != c.stays || !c.stays && err != nil {
				t.Errorf("arm: %v", err)
			}
			timer, err := b.Timer(t.Context(), events.TypeNearExpiry, id)
			if err != nil || timer.At.Equal(due) != c.stays {
				t.Errorf("the timer is that of %s for %s, %v", timer.Event.Data.Reason, timer.At, err)
			}
			if err := b.RotateNow(t.Context(), c.comes); err != nil {
				t.Fatal(err)
			}
			if timer, err = b.Timer(t.Context(), events.TypeNearExpiry, id); err != nil || (timer.Seq != 0) != c.stays {
				t.Errorf("after a request for a rotation at once: %+v, %v", timer, err)
			}
		})
	}
}
