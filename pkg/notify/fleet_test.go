package notify

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

var fleetIDs = []secret.ID{"A", "B", "C", "D"}

// records is a fleet as the stream of uses has it: the last record per subject.
type records struct {
	uses      map[string]events.FleetEvent // :: secret/service/instance/incarnation
	presences map[string]events.FleetEvent // :: service/instance/incarnation
}

func (r records) apply(e events.FleetEvent) {
	if u := e.Use; u != nil {
		r.uses[fmt.Sprint(u.SecretID, u.Service, u.Instance, u.Incarnation)] = e
		return
	}
	r.presences[fmt.Sprint(e.Presence.Service, e.Presence.Instance, e.Presence.Incarnation)] = e
}

// of returns the fleet of a secret, as the bus returns it.
func (r records) of(id secret.ID, now time.Time) events.Fleet {
	f := events.Fleet{SecretID: id, At: now}
	for _, e := range r.uses {
		if e.Use.SecretID != id {
			continue
		}
		u := events.User{Use: *e.Use, UsedAt: e.At, Problem: e.Problem}
		p, ok := r.presences[fmt.Sprint(u.Use.Service, u.Use.Instance, u.Use.Incarnation)]
		if ok {
			u.Presence, u.RenewedAt, u.Problem = *p.Presence, p.At, cmp.Or(u.Problem, p.Problem)
		} else if u.Problem == "" {
			u.Problem = "no presence of the incarnation is stored"
		}
		f.Users = append(f.Users, u)
	}
	return f
}

// view is what matters of a secret in a fleet.
type view struct {
	blocking, accepting []events.Blocker
	applied             int
	states              map[rollout.InstanceState]int
}

func look(f events.Fleet) view {
	q := rollout.Question{Spec: secret.Spec{ID: f.SecretID, Services: []string{"s1"}, Fence: time.Minute}, VersionID: "v2", Promoted: t0}
	s := q.Ask(f)
	return view{s.Blocking, s.Accepting, s.Applied, s.Instances}
}

// TestFleetIsWhatWasRecorded holds the index to the records that it was made of, and
// to naming every secret of which a record changed the view.
func TestFleetIsWhatWasRecorded(t *testing.T) {
	t.Parallel()
	named := func(t *rapid.T) (service, instance, incarnation string) {
		instance = fmt.Sprint(rapid.IntRange(1, 2).Draw(t, "instance"))
		return rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "service"), instance, instance + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "incarnation")
	}
	problem := rapid.SampledFrom([]string{"", "", "", "torn"})
	rapid.Check(t, func(t *rapid.T) {
		f, want, now := newFleet(), records{map[string]events.FleetEvent{}, map[string]events.FleetEvent{}}, t0
		check := func(do func(changed func(secret.ID)), all bool) {
			before := map[secret.ID]view{}
			for _, id := range fleetIDs {
				before[id] = look(f.of(id, now))
			}
			told := map[secret.ID]bool{}
			do(func(id secret.ID) { told[id] = true })
			for _, id := range fleetIDs {
				got, is := look(f.of(id, now)), look(want.of(id, now))
				if !reflect.DeepEqual(got, is) {
					t.Fatalf("%s is %+v, want %+v", id, got, is)
				}
				if !reflect.DeepEqual(got, before[id]) && !told[id] && !all {
					t.Fatalf("%s became %+v, was %+v, without being named", id, got, before[id])
				}
				if lags := f.lagging(id, "v2"); len(lags) > 0 && !slices.ContainsFunc(got.blocking, func(b events.Blocker) bool { return b.Until.IsZero() }) {
					t.Fatalf("%v lag behind in %s, and only fences block: %v", lags, id, got.blocking)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"use": func(t *rapid.T) {
				service, instance, incarnation := named(t)
				e := events.FleetEvent{At: now, Problem: problem.Draw(t, "problem"), Use: &events.Use{
					Running: events.Running{
						SecretID:  rapid.SampledFrom(fleetIDs).Draw(t, "secret"),
						VersionID: rapid.SampledFrom([]secret.VersionID{"", "v1", "v2"}).Draw(t, "version"),
						Status:    rapid.SampledFrom([]events.ApplyStatus{events.StatusApplied, events.StatusFailed, "of a later client"}).Draw(t, "status"),
						Wanted:    rapid.SampledFrom([]secret.VersionID{"", "v2"}).Draw(t, "wanted"),
						Reason:    rapid.SampledFrom([]string{"", "no"}).Draw(t, "reason"),
					},
					Service: service, Instance: instance, Incarnation: incarnation,
					Accepts:   rapid.SampledFrom([][]secret.VersionID{nil, {}, {"v1"}, {"v1", "v0"}}).Draw(t, "accepts"),
					PastFence: rapid.SampledFrom([]events.PastFence{events.PastFenceRefuse, events.PastFenceServe}).Draw(t, "past fence"),
					Fence:     rapid.SampledFrom([]int{1, 100}).Draw(t, "fence"),
					Ended:     rapid.Bool().Draw(t, "use ended"),
				}}
				want.apply(e)
				check(func(c func(secret.ID)) { f.apply(e, now, c) }, false)
			},
			"presence": func(t *rapid.T) {
				service, instance, incarnation := named(t)
				e := events.FleetEvent{At: now, Problem: problem.Draw(t, "problem"), Presence: &events.Presence{
					Service: service, Instance: instance, Incarnation: incarnation,
					Lease: rapid.SampledFrom([]int{5, 50}).Draw(t, "lease"), Ended: rapid.Bool().Draw(t, "ended"),
				}}
				want.apply(e)
				check(func(c func(secret.ID)) { f.apply(e, now, c) }, false)
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "seconds")) * time.Second)
				check(func(c func(secret.ID)) { f.expire(now, c) }, true)
			},
			"round": func(*rapid.T) {
				f.begin()
				want = records{map[string]events.FleetEvent{}, map[string]events.FleetEvent{}}
				check(f.sweep, false)
			},
		})
	})
}

func TestARenewalNamesNoSecretAndCostsNothing(t *testing.T) {
	f := newFleet()
	for i := range 100 {
		f.apply(benchUse(0, i, ""), t0, func(secret.ID) {})
	}
	e := benchPresence(0)
	f.apply(e, e.At, func(secret.ID) {})
	told := 0
	allocs := testing.AllocsPerRun(100, func() { f.apply(e, e.At, func(secret.ID) { told++ }) })
	if told != 0 || allocs != 0 {
		t.Errorf("%d secrets were named, %v allocations, want none", told, allocs)
	}
}

// TestARecordThatIsUnderstoodReplacesOneThatWasNot: the subject of a use does not
// name the instance, so one that is not understood has none.
func TestARecordThatIsUnderstoodReplacesOneThatWasNot(t *testing.T) {
	t.Parallel()
	f := newFleet()
	var named []secret.ID
	apply := func(e events.FleetEvent) {
		e.At, named = t0, nil
		f.apply(e, t0, func(id secret.ID) { named = append(named, id) })
	}
	good := events.Use{Running: events.Running{SecretID: "A", VersionID: "v2", Status: events.StatusApplied}, Service: "s1", Instance: "i", Incarnation: "n", Accepts: []secret.VersionID{}}
	for _, instance := range []string{"", "i"} { // known, or not yet
		apply(events.FleetEvent{Use: &events.Use{Running: events.Running{SecretID: "A"}, Service: "s1", Incarnation: "n"}, Problem: "torn"})
		if v := look(f.of("A", t0)); len(v.blocking) != 1 || v.blocking[0].Reason != events.BlockNotUnderstood || v.blocking[0].Instance != instance {
			t.Errorf("a record that is not understood: %+v", v)
		}
		apply(events.FleetEvent{Presence: &events.Presence{Service: "s1", Instance: "i", Incarnation: "n", Lease: 60}})
		apply(events.FleetEvent{Use: &good})
		if v := look(f.of("A", t0)); len(v.blocking) != 0 || v.applied != 1 || !slices.Contains(named, "A") {
			t.Errorf("after one that is understood: %+v, named %v", v, named)
		}
	}
	if f.instances.n != 1 || f.states["s1"][rollout.InstanceSilent] != 0 {
		t.Errorf("%d instances, %v", f.instances.n, f.states)
	}
}

// TestAUseOfAnotherInstanceIsNotConfirmedByThePresence: a service may name the same
// incarnation in two instances. What a record says of itself stays, whatever comes
// after it.
func TestAUseOfAnotherInstanceIsNotConfirmedByThePresence(t *testing.T) {
	t.Parallel()
	f := newFleet()
	apply := func(e events.FleetEvent) { e.At = t0; f.apply(e, t0, func(secret.ID) {}) }
	of := func(id secret.ID, instance string) events.FleetEvent {
		return events.FleetEvent{Use: &events.Use{
			Running: events.Running{SecretID: id, VersionID: "v2", Status: events.StatusApplied}, Service: "s1", Instance: instance, Incarnation: "n", Accepts: []secret.VersionID{},
		}}
	}
	presence := func(instance string) {
		apply(events.FleetEvent{Presence: &events.Presence{Service: "s1", Instance: instance, Incarnation: "n", Lease: 60}})
	}
	check := func(when string, want map[secret.ID]string) {
		t.Helper()
		for id, live := range want {
			got, applied := f.of(id, t0).Users[0], look(f.of(id, t0)).applied
			if got.Use.Instance != string(id) || (applied == 1) != (live == "live") {
				t.Errorf("%s: the use of %s is of instance %q, %d applied it; want one that is %s", when, id, got.Use.Instance, applied, live)
			}
		}
	}
	apply(of("A", "A"))
	apply(of("B", "B"))
	check("without a presence", map[secret.ID]string{"A": "silent", "B": "silent"})
	presence("B")
	check("the presence of B", map[secret.ID]string{"A": "silent", "B": "live"})
	presence("A")
	check("the presence of A", map[secret.ID]string{"A": "live", "B": "silent"})
	apply(of("B", "B"))
	check("B again", map[secret.ID]string{"A": "live", "B": "silent"})
}
