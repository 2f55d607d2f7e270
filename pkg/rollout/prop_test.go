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
	now   time.Time
	r     Rollout
	spec  secret.Spec
	known bool
	fresh bool
	newer bool
	users map[string]events.User // :: service and instance → its records
	heard events.RolloutState    // what was published last
	armed bool
	// resumed says that a worker was ordered that resumes what is suspended.
	resumed bool
}

func (m *machine) facts() Facts {
	fleet := events.Fleet{SecretID: "S", At: m.now, Since: t0.Add(-time.Hour)}
	for _, u := range m.users {
		if u.Presence.Lease > 0 {
			u.RenewedAt = m.now // it renews in time
		}
		fleet.Users = append(fleet.Users, u)
	}
	f := Facts{Configured: m.known, Grace: m.spec.GracePeriod(), Deadline: m.spec.RolloutDeadline(), Newer: m.newer, Fresh: m.fresh}
	return f.With(Question{Spec: m.spec, VersionID: "v2", Promoted: t0}.Ask(fleet))
}

// step asks once and does what it is told.
func (m *machine) step(t *rapid.T) (moved bool) {
	f, was := m.facts(), m.r
	next, actions := Advance(m.now, m.r, f)
	silent := was.State == "" && next.State == events.RolloutSuperseded
	published := slices.ContainsFunc(actions, func(a Action) bool { return a.Kind == ActionPublish })
	if next.State != was.State && !published && !silent {
		t.Fatalf("%s became %s without an event", was.State, next.State)
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
	if next.State == events.RolloutStalled && was.State != next.State && (len(f.Blocking)+len(f.Accepting) == 0 || f.waits() || !f.Fresh || m.now.Sub(was.behindSince()) < f.Deadline) {
		t.Fatalf("stalled after %s of %s, fresh %t, with %v", m.now.Sub(was.behindSince()), f.Deadline, f.Fresh, f.Blocking)
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
		back := next.State == events.RolloutRolling && len(f.Blocking) > 0
		if next.State != events.RolloutDraining && !back || next.Ordered {
			t.Fatalf("disarmed when %s became %s", was.State, next.State)
		}
		m.armed = false
	case ActionArmRetire:
		if a.Reason == ReasonSuspended {
			if !was.Suspended || !a.At.Equal(m.now) {
				t.Fatalf("resumed in %s, suspended %t", was.State, was.Suspended)
			}
			m.resumed = true
			return
		}
		if len(f.Blocking)+len(f.Accepting) > 0 || f.Applied == 0 || !f.Configured || was.State != events.RolloutDraining || next.PreviousVersionID == "" {
			t.Fatalf("armed in %s with %v blocking, %v accepting and %d applied", was.State, f.Blocking, f.Accepting, f.Applied)
		}
		if a.At.After(m.now) || !a.At.Equal(next.RetireAt) || next.ConvergedAt.After(a.At) || !next.Ordered {
			t.Fatalf("armed for %s, converged at %s", a.At, next.ConvergedAt)
		}
		m.armed = true
	case ActionNotifyDraining:
		if next.State != events.RolloutDraining || m.now.Before(next.RetireAt) || len(f.Blocking) > 0 {
			t.Fatalf("services are told to drain in %s", next.State)
		}
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
	if overdue && len(f.Blocking) > 0 {
		t.Fatalf("the stall was not published: %v", f.Blocking)
	}
	if m.r.State != m.heard && m.r.State != events.RolloutSuperseded {
		t.Fatalf("it is %q, and %q is what was heard", m.r.State, m.heard)
	}
	if len(f.Blocking) > 0 && (m.r.State == events.RolloutConverged || m.r.State == events.RolloutDraining) && !m.r.Ended() && f.Configured {
		t.Fatalf("it still is converged with %v", f.Blocking)
	}
	if m.r.Suspended && m.r.State != events.RolloutDraining && !m.r.Ended() && f.Configured && !m.resumed {
		t.Fatalf("what is suspended does not come back in %s", m.r.State)
	}
	m.worker()
	m.converges(t)
}

// suspend has every instance run the version until the retirement is ordered, and does what
// a worker does then, before it revokes.
func (m *machine) suspend(t *rapid.T) {
	if !m.known || m.newer || m.r.PreviousVersionID == "" {
		return
	}
	m.users, m.spec.Services = map[string]events.User{"a1": m.user("a1", "v2", false, 60)}, []string{"a"}
	for range 30 {
		m.settle(t)
		if m.r.Ended() || m.r.Ordered {
			break
		}
		m.now = m.r.Wake(m.now, m.facts())
	}
	if m.r.State == events.RolloutDraining {
		m.r, m.resumed = Resume(Suspended("/w", m.now, m.r.data(m.r.Since, m.facts()), true, nil).Data), false
	}
}

// worker carries an order out that resumes.
func (m *machine) worker() {
	if m.resumed && m.r.Suspended {
		m.r = Resume(Suspended("/w", m.now, m.r.data(m.r.Since, m.facts()), false, nil).Data)
	}
	m.resumed = false
}

// user returns the records of an instance that lives, or with a lease of 0 was
// heard of last now.
func (m *machine) user(who string, v secret.VersionID, accepts bool, lease int) events.User {
	u := using(v)
	u.Use.Service, u.Use.Instance, u.Presence.Lease, u.RenewedAt = who[:1], who[1:], lease, m.now
	if accepts {
		u.Use.Accepts = []secret.VersionID{"v1"}
	}
	return u
}

// converges checks that once everyone runs the version and accepts no other, the
// retirement is ordered without any further cause than the times that Wake gives.
func (m *machine) converges(t *rapid.T) {
	calm := *m
	calm.known, calm.newer = true, false
	calm.users = map[string]events.User{"a1": m.user("a1", "v2", false, 60)}
	calm.spec.Services = []string{"a"}
	if calm.r.Ended() {
		return
	}
	for range 30 {
		calm.settle(t)
		if calm.r.Ordered || calm.r.Ended() {
			return
		}
		calm.now = calm.r.Wake(calm.now, calm.facts())
	}
	t.Fatalf("no retirement is ordered in %s since %s, now %s", calm.r.State, calm.r.Since, calm.now)
}

func TestRolloutPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{now: t0, known: true, fresh: true, spec: secret.Spec{ID: "S", Store: "x"}, users: map[string]events.User{}}
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
				w, v := who.Draw(t, "who"), rapid.SampledFrom([]secret.VersionID{"", "v1", "v2", "v2"}).Draw(t, "version")
				m.users[w] = m.user(w, v, rapid.Bool().Draw(t, "accepts"), 60)
			},
			"silent": func(t *rapid.T) {
				w := who.Draw(t, "who")
				if u, ok := m.users[w]; ok {
					u.Presence.Lease, u.RenewedAt = 0, m.now
					m.users[w] = u
				}
			},
			"gone": func(t *rapid.T) { delete(m.users, who.Draw(t, "who")) },
			"time": func(t *rapid.T) {
				m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, HoldOff, time.Minute, deadline, time.Hour}).Draw(t, "by"))
			},
			"stale":   func(*rapid.T) { m.fresh = false },
			"suspend": m.suspend,
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
