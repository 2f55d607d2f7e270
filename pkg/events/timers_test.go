package events_test

import (
	"context"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestADisarmedRetirementIsNotAskedFor: a notifier takes its order back with the
// rights that it has, and may give it again at once.
func TestADisarmedRetirementIsNotAskedFor(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	order := func(v secret.VersionID, at time.Time) {
		t.Helper()
		if changed, err := b.Arm(t.Context(), event(events.TypeRetire, v), at); err != nil || !changed {
			t.Fatalf("arm %s: changed %t, err %v", v, changed, err)
		}
	}
	got := make(chan secret.VersionID, 8)
	consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(_ context.Context, d events.Delivery) error {
		got <- d.Event.Data.VersionID
		return nil
	})
	due := time.Now().Add(2 * time.Second)
	order("taken-back", due)
	for range 2 { // the second finds nothing to take back
		if err := b.Disarm(t.Context(), events.TypeRetire, id); err != nil {
			t.Fatal(err)
		}
	}
	if timer, err := b.Timer(t.Context(), events.TypeRetire, id); err != nil || !timer.At.IsZero() {
		t.Errorf("after disarming: %+v, err %v", timer, err)
	}
	order("later", due.Add(time.Second))
	if v := <-got; v != "later" {
		t.Errorf("asked to retire what was before %s, want later", v)
	}
}

func TestARetireTimerIsNoRotationTimer(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	if _, err := b.Arm(t.Context(), event(events.TypeRetire, "v1"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if keys, err := b.ArmedKeys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("armed rotations %v, err %v", keys, err)
	}
}
