package rollout

import (
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestStepsOfASoak: nothing is revoked before it was suspended for the whole period, and
// what is suspended comes back as soon as something holds the retirement back.
func TestStepsOfASoak(t *testing.T) {
	t.Parallel()
	const period = 10 * time.Minute
	at := func(d time.Duration) Soak { return Soak{Period: period, Suspended: true, At: t0.Add(-d)} }
	held := func(s Soak) Soak { s.Held = true; return s }
	for _, c := range []struct {
		name string
		soak Soak
		step SoakStep
		wait time.Duration
	}{
		{"no soak", Soak{}, SoakRevoke, 0},
		{"no soak any more", Soak{Suspended: true}, SoakRevoke, 0},
		{"before", Soak{Period: period}, SoakSuspend, 0},
		{"a try that remembers another rollout", Soak{Period: period, At: t0.Add(-time.Hour)}, SoakSuspend, 0},
		{"a worker died before it suspended, or after", Soak{Period: period, Suspended: true}, SoakSuspend, 0},
		{"a clock was ahead", at(-time.Hour), SoakSuspend, 0},
		{"at once", at(0), SoakWait, period},
		{"within", at(9 * time.Minute), SoakWait, time.Minute},
		{"over", at(period), SoakRevoke, 0},
		{"used before", held(Soak{Period: period}), SoakNone, 0},
		{"used within", held(at(time.Minute)), SoakResume, 0},
		{"used at the end", held(at(period)), SoakResume, 0},
		{"used, and perhaps suspended", held(Soak{Suspended: true}), SoakResume, 0},
	} {
		if step, wait := c.soak.Step(t0); step != c.step || wait != c.wait {
			t.Errorf("%s: %s for %s, want %s for %s", c.name, step, wait, c.step, c.wait)
		}
	}
}

// TestWhatIsSuspendedComesBack: the notifier orders a worker that resumes, in every state
// in which an instance may need the version before, and again until it has.
func TestWhatIsSuspendedComesBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state events.RolloutState
		facts Facts
		wants []ActionKind
	}{
		{events.RolloutDraining, Facts{Configured: true, Applied: 1}, []ActionKind{ActionArmRetire}},
		{events.RolloutDraining, Facts{Configured: true, Accepting: accept}, []ActionKind{ActionArmRetire}},
		{events.RolloutDraining, Facts{Configured: true, Blocking: old}, []ActionKind{ActionPublish}},
		{events.RolloutRolling, Facts{Configured: true, Blocking: old}, []ActionKind{ActionArmRetire}},
		{events.RolloutStalled, Facts{Configured: true, Blocking: old}, []ActionKind{ActionArmRetire}},
		{events.RolloutConverged, Facts{Configured: true}, []ActionKind{ActionArmRetire}},
		{events.RolloutSuperseded, Facts{Configured: true, Blocking: old}, nil},
	} {
		r := Resume(Suspended("/w", t0, with(inState(c.state), drained).data(t0, Facts{}), true, nil).Data)
		next, actions := Advance(t0, r, c.facts)
		var kinds []ActionKind
		for _, a := range actions {
			kinds = append(kinds, a.Kind)
		}
		if !slices.Equal(kinds, c.wants) || !next.Suspended {
			t.Errorf("%s with %+v: %v, suspended %t; want %v", c.state, c.facts, kinds, next.Suspended, c.wants)
		}
		if _, again := Advance(t0, next, c.facts); c.wants != nil && c.wants[0] == ActionArmRetire && slices.ContainsFunc(again, func(a Action) bool { return a.Reason == ReasonSuspended }) {
			t.Errorf("%s: it is ordered twice at once", c.state)
		}
	}
}

// TestASuspensionInTheLog: a process that starts anew knows of it, the state and its
// deadline stay, and retired versions are not suspended.
func TestASuspensionInTheLog(t *testing.T) {
	t.Parallel()
	for _, state := range []events.RolloutState{events.RolloutDraining, events.RolloutRolling, events.RolloutStalled} {
		logged := with(inState(state), drained).data(t0, Facts{})
		e := Suspended("/w", t0.Add(time.Minute), logged, true, []events.Blocker{{Instance: "192.0.2.7:1", Reason: events.BlockInUse}})
		r := Resume(e.Data)
		if !r.Suspended || r.State != state || !r.RetireAt.Equal(logged.Rollout.RetireAt) || logged.Rollout.Suspended || e.Data.Rollout.BlockingTotal != 1 {
			t.Errorf("%s: %+v", state, r)
		}
		if state != events.RolloutDraining && !r.behindSince().Equal(Resume(logged).behindSince()) {
			t.Errorf("%s: behind since %s, want %s", state, r.behindSince(), Resume(logged).behindSince())
		}
		if back := Resume(Suspended("/w", t0.Add(time.Hour), e.Data, false, nil).Data); back.Suspended || back.State != state {
			t.Errorf("%s: after it came back: %+v", state, back)
		}
		if d := Retired("/w", t0.Add(time.Hour), e.Data, 1).Data; d.Rollout.Suspended {
			t.Error("a retired version is suspended")
		}
		if e.ID == Suspended("/w", t0.Add(2*time.Minute), logged, false, nil).ID {
			t.Error("two events have one ID")
		}
	}
	if got := (secret.Spec{Grace: time.Minute}).SoakPeriod(); got != time.Minute {
		t.Errorf("the soak is %s by default, want the grace period", got)
	}
	if got := (secret.Spec{Grace: time.Minute, Drain: secret.Drain{Soak: -1}}).SoakPeriod(); got != 0 {
		t.Errorf("no soak is %s", got)
	}
}
