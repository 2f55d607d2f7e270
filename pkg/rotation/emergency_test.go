package rotation_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
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

// TestAnOrderAloneIsNoEmergency: the log says why a version was made. An order that claims
// an emergency waits for the sessions at the target, and its reason is not that of what is
// announced.
func TestAnOrderAloneIsNoEmergency(t *testing.T) {
	t.Parallel()
	x, a := newAccounts(t, secret.RetireDelete, target.InUseSessions, nil)
	a.open[x.v1] = true
	order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	x.log(t, order)
	order.Reason, order.PreviousVersionID = events.ReasonEmergency, "v9"
	if err := x.retire(t, order); err == nil || len(a.revoked) > 0 {
		t.Errorf("%v, revoked %v with an open session", err, a.revoked)
	}
	a.open[x.v1], order.Retry.QuietSince = false, time.Now().Add(-time.Hour)
	if err := x.retire(t, order); err != nil || !slices.Equal(a.revoked, []secret.VersionID{x.v1}) {
		t.Errorf("%v, revoked %v, want %s", err, a.revoked, x.v1)
	}
	last, err := x.bus.Last(t.Context(), events.TypeRollout, "ID")
	if d := last.Event.Data; err != nil || d.Rollout.State != events.RolloutRetired || d.Reason != events.ReasonManual || d.PreviousVersionID != x.v1 {
		t.Errorf("the log says %+v, %v", d, err)
	}
	if all, _ := x.receipts(t); len(all) != 1 || all[0].Basis != events.BasisProof || !slices.Equal(all[0].Retired, []secret.VersionID{x.v1}) {
		t.Errorf("receipts %+v", all)
	}
}
