package rotation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/target"
)

// TestAUseMayShowLate: a target that tells of a use late has to show none for so much
// longer, and the deadline of the drain comes so much later.
func TestAUseMayShowLate(t *testing.T) {
	t.Parallel()
	d := newDraining(t)
	d.w.can, d.w.late = target.InUseLastUsed, 4*time.Hour
	d.order.Retry.QuietSince = time.Now().Add(-4 * time.Hour)
	d.waits(t, "for 4h0m0s, of 4h5m0s")
	d.w.usage.LastUsed = time.Now().Add(-4 * time.Hour)
	d.waits(t, "last used")
	d.order.Rollout.RetireAt = time.Now().Add(-2 * time.Hour) // an hour past the deadline by itself
	d.log(t, d.order)
	if err := d.try(t); err == nil || strings.Contains(err.Error(), "after the deadline") {
		t.Errorf("%v, want an error that is not overdue", err)
	}
	d.order.Rollout.RetireAt = time.Now().Add(-6 * time.Hour)
	d.log(t, d.order)
	d.waits(t, "after the deadline")
	d.w.usage.LastUsed = time.Now().Add(-5 * time.Hour)
	d.order.Retry.LastUsed, d.order.Retry.QuietSince = d.w.usage.LastUsed, time.Now().Add(-5*time.Hour)
	if err := d.try(t); err != nil || d.w.revoked != 1 {
		t.Errorf("%v, %d revoked", err, d.w.revoked)
	}
}
