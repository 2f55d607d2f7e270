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

// TestATimerKeepsALaterTryOfARetirement: it knows since when the target has seen no
// session. An order of another rollout, or of another end of one, replaces it.
func TestATimerKeepsALaterTryOfARetirement(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	due, started := time.Now().Add(time.Hour), time.Now().Add(-time.Hour).UTC()
	of := func(attempt int, v secret.VersionID, started, retireAt time.Time) events.Event {
		e := event(events.TypeRetire, v)
		e.Data.Attempt = attempt
		e.Data.Rollout = &events.Rollout{State: events.RolloutDraining, StartedAt: started, RetireAt: retireAt}
		return e
	}
	later := of(3, "v2", started, started)
	for name, c := range map[string]struct {
		comes events.Event
		stays bool
	}{
		"the order":                      {of(0, "v2", started, started), true},
		"the try after it":               {of(4, "v2", started, started), false},
		"the order of another version":   {of(0, "v3", started, started), false},
		"the order of another rollout":   {of(0, "v2", started.Add(1), started), false},
		"the order after it fell back":   {of(0, "v2", started, started.Add(1)), false},
		"an order that names no rollout": {event(events.TypeRetire, "v2"), false},
	} {
		if err := b.Disarm(t.Context(), events.TypeRetire, id); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Arm(t.Context(), later, due); err != nil {
			t.Fatal(err)
		}
		if changed, err := b.Arm(t.Context(), c.comes, due.Add(time.Hour)); err != nil || changed == c.stays {
			t.Errorf("%s: changed %t, %v", name, changed, err)
		}
		if timer, err := b.Timer(t.Context(), events.TypeRetire, id); err != nil || timer.At.Equal(due) != c.stays {
			t.Errorf("%s: the timer is for %s, %v", name, timer.At, err)
		}
	}
}
