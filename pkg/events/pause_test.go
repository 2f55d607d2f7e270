package events_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// TestTheLastPauseCounts: and one that a stranger has signed does not.
func TestTheLastPauseCounts(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	if p, err := b.Pause(t.Context(), "ID"); err != nil || p != (events.Pause{}) {
		t.Errorf("never paused: %+v, %v", p, err)
	}
	for _, want := range []bool{true, false, true} {
		p := events.Pause{SecretID: "ID", Paused: want, By: "/test/alice", Reason: "freeze", At: time.Now()}
		if err := b.SetPause(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Pause(t.Context(), "ID"); err != nil || got.Paused != want || got.Reason != "freeze" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if p, err := b.Pause(t.Context(), "OTHER"); err != nil || p.Paused {
		t.Errorf("another secret: %+v, %v", p, err)
	}
	if err := b.SetPause(t.Context(), events.Pause{SecretID: "ID", Paused: true}); err == nil || errors.Is(err, events.ErrConflict) {
		t.Errorf("a pause without a name: %v", err)
	}
}
