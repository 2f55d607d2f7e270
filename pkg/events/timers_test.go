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

func TestATimerFiresAsASignedEvent(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	at := time.Now().Add(1200 * time.Millisecond)
	if changed, err := b.Arm(t.Context(), event(events.TypeNearExpiry, "v1"), at); err != nil || !changed {
		t.Fatalf("arm: changed %t, err %v", changed, err)
	}
	timer, err := b.Timer(t.Context(), events.TypeNearExpiry, id)
	if err != nil || !timer.At.Equal(at) || timer.Event.Data.VersionID != "v1" {
		t.Errorf("the timer reads back as %v for %s, err %v", timer.At, timer.Event.Data.VersionID, err)
	}
	keys, err := b.ArmedKeys(t.Context())
	if _, ok := keys[id.Key()]; err != nil || !ok || len(keys) != 1 {
		t.Errorf("armed keys %v, err %v", keys, err)
	}
	got := make(chan events.Delivery, 1)
	consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(_ context.Context, d events.Delivery) error { got <- d; return nil })
	d := <-got
	if early := time.Until(at); early > 0 {
		t.Errorf("it fired %s early", early)
	}
	if d.Event.Type != events.TypeNearExpiry || d.Event.Data.VersionID != "v1" {
		t.Errorf("it fired as %s for %s", d.Event.Type, d.Event.Data.VersionID)
	}
	if keys, err := b.ArmedKeys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("after it fired %v are armed, err %v", keys, err)
	}
}

func TestArmingAgainChangesNothingAndMovingDoes(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	at := time.Now().Add(time.Hour)
	for i, c := range []struct {
		version secret.VersionID
		at      time.Time
		want    bool
	}{{"v1", at, true}, {"v1", at, false}, {"v1", at.Add(time.Minute), true}, {"v2", at.Add(time.Minute), true}} {
		changed, err := b.Arm(t.Context(), event(events.TypeNearExpiry, c.version), c.at)
		if err != nil || changed != c.want {
			t.Errorf("arm %d: changed %t, want %t, err %v", i, changed, c.want, err)
		}
	}
	if err := b.Disarm(t.Context(), events.TypeNearExpiry, id); err != nil {
		t.Fatal(err)
	}
	if timer, err := b.Timer(t.Context(), events.TypeNearExpiry, id); err != nil || timer.Seq != 0 {
		t.Errorf("after disarming: %+v, err %v", timer, err)
	}
}

func TestRotateNowTakesTheTimerAway(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	if _, err := b.Arm(t.Context(), event(events.TypeNearExpiry, "v1"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	now := event(events.TypeNearExpiry, "v1")
	now.Data.Reason = events.ReasonManual
	if err := b.RotateNow(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if timer, err := b.Timer(t.Context(), events.TypeNearExpiry, id); err != nil || timer.Seq != 0 {
		t.Errorf("the timer still stands: %+v, err %v", timer, err)
	}
	got := make(chan events.Delivery, 8)
	consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(_ context.Context, d events.Delivery) error { got <- d; return nil })
	if d := <-got; d.Event.Data.Reason != events.ReasonManual {
		t.Errorf("delivered %+v", d.Event.Data)
	}
}
