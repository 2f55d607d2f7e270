package rollout

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// machine drives one rollout through a fleet that changes at random, the way a
// tracker does, and holds it to what it promises.
type machine struct {
	now     time.Time
	r       Rollout
	spec    secret.Spec
	known   bool
	fresh   bool
	newer   bool
	reports map[string]secret.VersionID // :: service/instance → what it runs
	heard   events.RolloutState         // what was published last
	armed   bool
}

func (m *machine) facts() Facts {
	var reports []events.Report
	for who, v := range m.reports {
		reports = append(reports, events.Report{Service: who[:1], Instance: who[1:],
			Secrets: []events.Running{{SecretID: "S", VersionID: v, Status: events.StatusApplied}}})
	}
	f := Facts{Configured: m.known, Grace: m.spec.GracePeriod(), Deadline: m.spec.RolloutDeadline(), Newer: m.newer, Fresh: m.fresh}
	f.Blocking, f.Applied = Blocking(reports, m.spec.Services, "S", "v2")
	return f
}

// step asks once and does what it is told.
func (m *machine) step(t *rapid.T) (moved bool) {
	f, was := m.facts(), m.r
	next, actions := Advance(m.now, m.r, f)
	silent := was.State == "" && next.State == events.RolloutSuperseded
	published := slices.ContainsFunc(actions, func(a Action) bool { return a.Kind == ActionPublish })
	if next.State != was.State && !published && !silent {
		t.Fatalf("%s became %s and nobody was told", was.State, next.State)
	}
	if was.Ended() && (len(actions) > 0 || next != was) {
		t.Fatalf("%s was the end, then came %s %+v", was.State, next.State, actions)
	}
	for _, a := range actions {
		if a.Reason == "" {
			t.Fatalf("%+v has no reason", a)
		}
		m.do(t, was, next, f, a)
	}
	if next.State == events.RolloutStalled && was.State != next.State && (len(f.Blocking) == 0 || !f.Fresh || m.now.Sub(was.Since) < f.Deadline) {
		t.Fatalf("stalled after %s of %s, fresh %t, with %v", m.now.Sub(was.Since), f.Deadline, f.Fresh, f.Blocking)
	}
	m.r = next
	return len(actions) > 0 || next.State != was.State
}

func (m *machine) do(t *rapid.T, was, next Rollout, f Facts, a Action) {
	switch a.Kind {
	case ActionPublish:
		m.heard = next.State
	case ActionRefresh:
		m.fresh = true
	case ActionDisarmRetire:
		if was.State != events.RolloutConverged || next.State != events.RolloutRolling {
			t.Fatalf("disarmed when %s became %s", was.State, next.State)
		}
		m.armed = false
	case ActionArmRetire:
		if len(f.Blocking) > 0 || f.Applied == 0 || !f.Configured || next.State != events.RolloutConverged || next.PreviousVersionID == "" {
			t.Fatalf("armed in %s with %v blocking and %d applied", next.State, f.Blocking, f.Applied)
		}
		if a.At.Before(next.ConvergedAt) || !a.At.Equal(next.RetireAt) || next.Since.After(next.ConvergedAt) {
			t.Fatalf("armed for %s, converged at %s", a.At, next.ConvergedAt)
		}
		if was.State != next.State && a.At.Before(m.now.Add(f.Grace)) {
			t.Fatalf("armed for %s, the grace period ends %s", a.At, m.now.Add(f.Grace))
		}
		m.armed = true
	}
}

func (m *machine) settle(t *rapid.T) {
	for range 10 {
		if !m.step(t) {
			return
		}
	}
	t.Fatalf("%s does not come to rest", m.r.State)
}

// check is what holds whenever the tracker is at rest.
func (m *machine) check(t *rapid.T) {
	m.settle(t)
	f := m.facts()
	if wake := m.r.Wake(m.now, f); m.r.Ended() != wake.IsZero() || !wake.IsZero() && !wake.After(m.now) {
		t.Fatalf("%s wakes at %s, now is %s", m.r.State, wake, m.now)
	}
	overdue := m.r.State == events.RolloutRolling && f.Configured && f.Deadline > 0 && m.now.Sub(m.r.Since) >= f.Deadline
	if overdue && len(f.Blocking) > 0 && (m.r.PreviousVersionID != "" || !f.unclaimed()) {
		t.Fatalf("nobody was told of the stall: %v", f.Blocking)
	}
	if m.r.State != m.heard && m.r.State != events.RolloutSuperseded {
		t.Fatalf("it is %q, and %q is what was heard", m.r.State, m.heard)
	}
	if len(f.Blocking) > 0 && m.r.State == events.RolloutConverged && !m.r.Ended() && f.Configured {
		t.Fatalf("it still is converged with %v", f.Blocking)
	}
	m.converges(t)
}

// converges checks that once everyone runs the version, convergence comes
// without any further cause than the times that Wake gives.
func (m *machine) converges(t *rapid.T) {
	calm := *m
	calm.known, calm.newer = true, false
	calm.reports = map[string]secret.VersionID{"a1": "v2"}
	calm.spec.Services = []string{"a"}
	if calm.r.Ended() {
		return
	}
	for range 5 {
		calm.settle(t)
		if calm.r.State == events.RolloutConverged {
			if calm.r.PreviousVersionID != "" && calm.r.Reminder.IsZero() {
				t.Fatal("converged, and the retirement was not armed")
			}
			return
		}
		calm.now = calm.r.Wake(calm.now, calm.facts())
	}
	t.Fatalf("the convergence was lost in %s since %s, now %s", calm.r.State, calm.r.Since, calm.now)
}

func TestRolloutPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{now: t0, known: true, fresh: true, spec: secret.Spec{ID: "S", Store: "x"}, reports: map[string]secret.VersionID{}}
		m.r = Begin(events.Data{SecretID: "S", VersionID: "v2", OccurredAt: t0})
		if rapid.Bool().Draw(t, "previous") {
			m.r.PreviousVersionID = "v1"
		}
		who := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"a", "b"}).Draw(t, "service"), rapid.IntRange(1, 2).Draw(t, "instance"))
		})
		duration := rapid.SampledFrom([]time.Duration{-1, 0, time.Second, time.Hour})
		t.Repeat(map[string]func(*rapid.T){
			"": m.check,
			"report": func(t *rapid.T) {
				m.reports[who.Draw(t, "who")] = rapid.SampledFrom([]secret.VersionID{"v1", "v2", "v2"}).Draw(t, "version")
			},
			"gone": func(t *rapid.T) { delete(m.reports, who.Draw(t, "who")) },
			"time": func(t *rapid.T) {
				m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, HoldOff, time.Minute, deadline, time.Hour}).Draw(t, "by"))
			},
			"stale": func(*rapid.T) { m.fresh = false },
			"spec": func(t *rapid.T) {
				m.spec.Grace, m.spec.Deadline = duration.Draw(t, "grace"), duration.Draw(t, "deadline")
				m.spec.Services = rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}}).Draw(t, "services")
			},
			"configured": func(t *rapid.T) { m.known = rapid.Bool().Draw(t, "known") },
			"restart":    func(*rapid.T) { m.restart() },
			"newer": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "chance") == 0 {
					m.newer = true
				}
			},
		})
	})
}

// restart forgets everything but what the log holds.
func (m *machine) restart() {
	if m.r.State != m.heard {
		return // ended in silence
	}
	if m.r.State == "" {
		return
	}
	m.r = Resume(m.r.data(m.r.Since, m.facts()))
}
