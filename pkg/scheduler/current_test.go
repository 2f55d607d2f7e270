package scheduler_test

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestTheGaugeShowsWhatHoldsNow: between two sweeps, a version that is announced ends
// what waited for it.
func TestTheGaugeShowsWhatHoldsNow(t *testing.T) {
	t.Parallel()
	m := newMall(t, []secret.Spec{
		{ID: "NEW", Store: "main", Path: "new", TTL: time.Hour, Create: true},
		{ID: "WAITS", Store: "main", Path: "waits", TTL: time.Hour, Create: true},
	}, map[string]*shop{"main": newShop()})
	m.sweep()
	want := func(missing, scheduled int64) {
		t.Helper()
		if a, b := m.gauge("rotator.secrets", "reason", string(scheduler.ReasonMissing)), m.gauge("rotator.secrets", "reason", string(scheduler.ReasonScheduled)); a != missing || b != scheduled {
			t.Errorf("%d are missing and %d scheduled, want %d and %d", a, b, missing, scheduled)
		}
	}
	want(2, 0)
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: "NEW", Store: "main", VersionID: "v1", Reason: events.ReasonNearExpiry, NotAfter: time.Now().Add(time.Hour)})
	if _, err := m.bus.PublishAfter(t.Context(), e, 0); err != nil {
		t.Fatal(err)
	}
	want(1, 1)
	m.srv.Stop()
	want(2, 0) // nothing is known beyond the sweep
}
