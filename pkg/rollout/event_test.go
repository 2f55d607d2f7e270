package rollout

import (
	"slices"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
)

func TestBlockersFitIntoAnEvent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é<", 2000)
	b := events.Blocker{Service: strings.Repeat("s", 64), Instance: strings.Repeat("i", 64), VersionID: "v1", Reason: events.BlockFailed, Detail: long}
	got := Listed(slices.Repeat([]events.Blocker{b}, 100))
	if len(got) == 0 || len(got) > events.MaxBlocking || len(got[0].Detail) > maxDetail+len("…") || !strings.HasPrefix(long, strings.TrimSuffix(got[0].Detail, "…")) {
		t.Errorf("%d are listed, the first as %q", len(got), got[0].Detail)
	}
	if got := Listed([]events.Blocker{{Detail: "short"}}); len(got) != 1 || got[0].Detail != "short" {
		t.Errorf("got %v", got)
	}
}

func TestRetiredRepeatsItsOrder(t *testing.T) {
	t.Parallel()
	converged := inState(events.RolloutDraining)
	order := converged.Order("/notifier", Facts{Applied: 3}).Data
	order.Retry = events.Retry{Attempt: 4, Rejections: 1, Failure: &events.Failure{Code: events.CodeBlocked}}
	at := t0.Add(grace)
	e := Retired("/worker", at, order, 2)
	ro := e.Data.Rollout
	if e.Type != events.TypeRollout || !e.Time.Equal(at) || e.Data.Retry != (events.Retry{}) || e.Data.VersionID != "v2" || e.Data.PreviousVersionID != "v1" {
		t.Errorf("got %+v", e)
	}
	if ro.State != events.RolloutRetired || ro.Applied != 2 || !ro.StartedAt.Equal(converged.StartedAt) || !ro.RetireAt.Equal(converged.RetireAt) {
		t.Errorf("got %+v", ro)
	}
	if order.Rollout.State != events.RolloutDraining {
		t.Error("the order was changed")
	}
}
