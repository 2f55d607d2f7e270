package rotation_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAnEmergencyDestroysWhatLeaked: also where the configuration keeps retired
// versions; and its receipt calls the version compromised.
func TestAnEmergencyDestroysWhatLeaked(t *testing.T) {
	t.Parallel()
	x := newRetirement(t, func(c *rotation.Config) {
		st, _ := c.Stores.Get("mem")
		c.Catalog, c.Stores = rotation.Configured(t, st, secret.Spec{ID: "ID", Store: "mem", Services: []string{"api"}, Create: true, Fence: 1, Retire: secret.RetireKeep})
	})
	d := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	d.Reason = events.ReasonEmergency
	x.log(t, d)
	x.retires(t, d)
	if old := x.version(t, x.v1); old.Kept || old.ID != "" && !old.Empty {
		t.Errorf("the version that leaked is left: %+v", old)
	}
	receipts, err := x.bus.Retirements(t.Context(), "ID")
	if err != nil || len(receipts) != 1 || receipts[0].Basis != events.BasisEmergency || !slices.Equal(receipts[0].Compromised, []secret.VersionID{x.v1}) {
		t.Errorf("the receipts are %+v, %v", receipts, err)
	}
}

// TestALateRedeliveryLeavesTheEmergencyWaiting: a rotation that was finished long ago is
// delivered again while an emergency waits for its next try in the timer of the secret.
// Neither the timer of the next rotation nor a later try of another one replaces it.
func TestALateRedeliveryLeavesTheEmergencyWaiting(t *testing.T) {
	t.Parallel()
	x := newRig(t, func(c *rotation.Config) {
		st, _ := c.Stores.Get("mem")
		c.Catalog, c.Stores = rotation.Configured(t, st, secret.Spec{ID: "ID", Store: "mem", Services: []string{"api"}, Create: true, Fence: 1, TTL: time.Hour})
	})
	try := func(from secret.VersionID, why events.Reason) rotation.Try {
		return rotation.Try{Request: rotation.Request{Secret: "ID", From: from, Reason: why}}
	}
	if _, err := x.r.Rotate(t.Context(), try(x.v1, events.ReasonNearExpiry)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.r.Rotate(t.Context(), try(x.v1, events.ReasonManual)); err != nil {
		t.Fatal(err)
	}
	request := func(from secret.VersionID, why events.Reason) events.Delivery {
		q := rotation.Request{Secret: "ID", From: from, Reason: why, By: "/test"}
		return events.Delivery{Event: q.Event("/test"), At: time.Now()}
	}
	emergency := request(x.current(t), events.ReasonEmergency)
	if err := x.r.Retry(t.Context(), emergency, errors.New("the target is down")); err != nil {
		t.Fatal(err)
	}
	waits := func(when string) {
		t.Helper()
		timer, err := x.bus.Timer(t.Context(), events.TypeNearExpiry, "ID")
		if d := timer.Event.Data; err != nil || d.Reason != events.ReasonEmergency || d.Attempt != 1 || d.VersionID != x.current(t) {
			t.Errorf("%s: the timer holds %s, attempt %d, %v", when, d.Reason, d.Attempt, err)
		}
	}
	waits("at first")
	if out, err := x.r.Rotate(t.Context(), try(x.v1, events.ReasonManual)); err != nil || out != rotation.OutcomeFinished {
		t.Errorf("the redelivery: %s, %v", out, err)
	}
	waits("after the redelivery of a rotation that is finished")
	if out, err := x.r.Rotate(t.Context(), try(x.current(t), events.ReasonNearExpiry)); err != nil || out != rotation.OutcomeNotDue {
		t.Errorf("one that is not due: %s, %v", out, err)
	}
	waits("after one that is not due")
	if err := x.r.Retry(t.Context(), request(x.v1, events.ReasonNearExpiry), errors.New("the store is down")); !errors.Is(err, events.ErrOutranked) {
		t.Errorf("a later try of another rotation: %v, want one that has the message delivered again", err)
	}
	waits("after a try of another rotation failed")
}
