package rotation_test

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store"
)

// order is a manual order to rotate the current version, given at a time.
func (x *rig) order(t *testing.T, at time.Time) events.Delivery {
	t.Helper()
	return events.Delivery{Event: events.Event{Type: events.TypeNearExpiry, Time: at, Data: events.Data{
		SecretID: "ID", VersionID: x.current(t), Reason: events.ReasonManual, OccurredAt: at,
	}}}
}

// TestAnExpiredOrderIsAHint: a signed order to rotate by hand that is repeated, or
// handled, after its end makes the worker look whether the secret is due.
func TestAnExpiredOrderIsAHint(t *testing.T) {
	t.Parallel()
	x := newRig(t, nil)
	late := x.order(t, time.Now().Add(-events.OrderLife-time.Minute))
	if err := x.r.Handle(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if v := x.current(t); v != x.v1 {
		t.Errorf("an expired order has rotated to %s", v)
	}
	late.Event.Data.ValidUntil = time.Now().Add(-time.Minute)
	late.Event.Time = time.Now()
	if err := x.r.Handle(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if v := x.current(t); v != x.v1 {
		t.Errorf("an order after its end has rotated to %s", v)
	}
	if err := x.r.Handle(t.Context(), x.order(t, time.Now())); err != nil {
		t.Fatal(err)
	}
	if x.current(t) == x.v1 {
		t.Error("an order in time has not rotated")
	}
}

// TestAnExpiredOrderToRetireSaysOnlyWhere: the log says which rollout has drained.
func TestAnExpiredOrderToRetireSaysOnlyWhere(t *testing.T) {
	t.Parallel()
	x := newRetirement(t, nil)
	logged := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	order := logged
	order.PreviousVersionID, order.ValidUntil = "another", time.Now().Add(-time.Minute)
	if err := x.retire(t, order); err != nil {
		t.Errorf("without a rollout in the log: %v", err)
	}
	if _, _, err := x.st.Get(t.Context(), "ID", store.Selector{Version: x.v1}); err != nil {
		t.Fatalf("an expired order retired without a rollout in the log: %v", err)
	}
	x.log(t, logged)
	x.retires(t, order)
}
