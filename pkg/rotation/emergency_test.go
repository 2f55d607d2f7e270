package rotation_test

import (
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
