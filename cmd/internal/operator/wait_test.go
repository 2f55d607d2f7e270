package operator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestWait: for what each state is enough, and what never gets there.
func TestWait(t *testing.T) {
	t.Parallel()
	bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	n := 0
	publish := func(kind events.Type, v, previous secret.VersionID, ro *events.Rollout) {
		t.Helper()
		n++
		now := time.Now()
		e := events.Event{ID: fmt.Sprint("e", n), Type: kind, Source: "/test", Time: now, Data: events.Data{
			SecretID: "DB", VersionID: v, PreviousVersionID: previous, OccurredAt: now, Rollout: ro,
		}}
		if err := bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	state := func(s events.RolloutState) *events.Rollout { return &events.Rollout{State: s} }
	wait := func(w WaitState, v secret.VersionID) error {
		t.Helper()
		one := Wait{w, time.Minute}
		return one.rollouts(t.Context(), bus, map[secret.ID]secret.VersionID{"DB": v}, func(string, ...any) {})
	}
	publish(events.TypeRotated, "1", "", nil)
	publish(events.TypeRollout, "1", "", state(events.RolloutConverged))
	for _, w := range []WaitState{WaitConverged, WaitRetired} { // there is none before the first
		if err := wait(w, ""); err != nil {
			t.Errorf("the first version, %s: %v", w, err)
		}
	}
	publish(events.TypeRotated, "2", "1", nil)
	publish(events.TypeRollout, "2", "1", &events.Rollout{State: events.RolloutRolling, Blocking: []events.Blocker{{Service: "api", VersionID: "1", Reason: events.BlockOldVersion}}})
	ctx, stop := context.WithCancel(t.Context())
	var said string
	w := Wait{WaitConverged, time.Minute}
	err := w.WaitFor(ctx, bus, []secret.ID{"DB"}, func(format string, args ...any) {
		said = fmt.Sprintf(format, args...)
		stop()
	})
	if err == nil || !strings.Contains(err.Error(), "interrupted") || !strings.Contains(said, "is rolling") || !strings.Contains(said, "waits for api: it runs version 1") {
		t.Errorf("while it rolls: %v; it says %s", err, said)
	}
	publish(events.TypeRollout, "2", "1", state(events.RolloutConverged))
	if err := wait(WaitConverged, "2"); err != nil {
		t.Error(err)
	}
	publish(events.TypeRollout, "2", "1", state(events.RolloutSuperseded))
	if err := wait(WaitRetired, "2"); err == nil || !strings.Contains(err.Error(), "never gets there") {
		t.Errorf("a version that was superseded: %v", err)
	}
}

// TestWhatAStateIsEnoughFor: nothing counts as dead because its successor has converged.
func TestWhatAStateIsEnoughFor(t *testing.T) {
	t.Parallel()
	for state, want := range map[events.RolloutState]string{
		events.RolloutRolling: "false false", events.RolloutWaiting: "false false", events.RolloutStalled: "false false", events.RolloutConverged: "true false",
		events.RolloutDraining: "true false", events.RolloutRetired: "true true", events.RolloutSuperseded: "false false", events.RolloutRolledBack: "false false",
	} {
		d := events.Data{SecretID: "DB", VersionID: "2", PreviousVersionID: "1", Rollout: &events.Rollout{State: state}}
		if got := fmt.Sprint((&Wait{For: WaitConverged}).reached(d), (&Wait{For: WaitRetired}).reached(d)); got != want {
			t.Errorf("%s: %s, want %s", state, got, want)
		}
	}
	f := following{wait: Wait{WaitConverged, time.Second}, want: map[secret.ID]secret.VersionID{"DB": ""}, roll: map[secret.ID]events.Data{}}
	if err := f.late(t.Context(), map[secret.ID]secret.VersionID{"DB": "2"}); !strings.Contains(err.Error(), "DB: its rollout has not begun") {
		t.Errorf("late: %v", err)
	}
}

// TestWaitTakesADuration, as scripts give it that were written before the states.
func TestWaitTakesADuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Wait{
		"0": {WaitNone, 0}, "15s": {WaitRotated, 15 * time.Second}, "retired": {WaitRetired, time.Minute},
	} {
		got := Wait{WaitRotated, time.Minute}
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1s", "soon"} {
		if err := new(Wait).Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
