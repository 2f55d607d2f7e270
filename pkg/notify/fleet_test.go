package notify

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

var fleetIDs = []secret.ID{"A", "B", "C", "D"}

// view is what matters of a secret in a fleet.
type view struct {
	blocking []events.Blocker
	applied  int
}

func look(reports []events.Report, id secret.ID) view {
	b, n := rollout.Blocking(reports, []string{"s1"}, id, "v2")
	return view{b, n}
}

// TestFleetIsWhatWasReported holds the index to the reports it was made of,
// and to naming every secret of which a report changed the view.
func TestFleetIsWhatWasReported(t *testing.T) {
	t.Parallel()
	running := rapid.Custom(func(t *rapid.T) events.Running {
		return events.Running{
			SecretID:  rapid.SampledFrom(fleetIDs).Draw(t, "secret"),
			VersionID: rapid.SampledFrom([]secret.VersionID{"v1", "v2"}).Draw(t, "version"),
			Status:    rapid.SampledFrom([]events.ApplyStatus{events.StatusApplied, events.StatusFailed, "of a later client"}).Draw(t, "status"),
			Wanted:    rapid.SampledFrom([]secret.VersionID{"", "v2"}).Draw(t, "wanted"),
			Reason:    rapid.SampledFrom([]string{"", "no"}).Draw(t, "reason"),
		}
	})
	report := rapid.Custom(func(t *rapid.T) events.Report {
		r := events.Report{
			Service:  rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "service"),
			Instance: fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "instance")),
			Problem:  rapid.SampledFrom([]string{"", "", "", "torn", "too long"}).Draw(t, "problem"),
		}
		if r.Problem == "" {
			r.Secrets = rapid.SliceOfN(running, 0, 5).Draw(t, "secrets")
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		f, want := newFleet(), map[name]events.Report{}
		change := func(do func(changed func(secret.ID)) bool, adjust func()) {
			before := map[secret.ID]view{}
			for _, id := range fleetIDs {
				before[id] = look(slices.Collect(maps.Values(want)), id)
			}
			adjust()
			told := map[secret.ID]bool{}
			all := do(func(id secret.ID) { told[id] = true })
			for _, id := range fleetIDs {
				now := look(slices.Collect(maps.Values(want)), id)
				if !reflect.DeepEqual(now, before[id]) && !told[id] && !all {
					t.Fatalf("%s became %+v, was %+v, and nobody was told", id, now, before[id])
				}
				if lags := f.lagging(id, "v2"); len(lags) > 0 && len(now.blocking) == 0 {
					t.Fatalf("%v lag behind in %s, and nobody blocks", lags, id)
				}
				if lags := f.lagging(id, "v2"); len(lags) == 0 && slices.ContainsFunc(now.blocking, runsAnother) {
					t.Fatalf("nobody lags behind in %s, and %v block", id, now.blocking)
				}
				if got := look(f.of(id), id); !reflect.DeepEqual(got, now) {
					t.Fatalf("%s is %+v, want %+v", id, got, now)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"report": func(t *rapid.T) {
				r := report.Draw(t, "report")
				mine := r
				mine.Secrets = slices.Clone(r.Secrets)
				change(func(c func(secret.ID)) bool { return f.apply(mine, c) }, func() { want[name{r.Service, r.Instance}] = r })
			},
			"gone": func(t *rapid.T) {
				r := report.Draw(t, "report")
				n := name{r.Service, r.Instance}
				change(func(c func(secret.ID)) bool { return f.remove(n, c) }, func() { delete(want, n) })
			},
			"round": func(t *rapid.T) {
				f.begin()
				heard := map[name]events.Report{}
				for _, r := range rapid.SliceOfN(report, 0, 3).Draw(t, "reports") {
					heard[name{r.Service, r.Instance}] = r
				}
				change(func(c func(secret.ID)) bool {
					for _, r := range heard {
						r.Secrets = slices.Clone(r.Secrets)
						f.apply(r, c)
					}
					f.sweep(c)
					return true // the tracker looks at everything after a round
				}, func() { want = heard })
			},
			"": func(t *rapid.T) { checkSizes(t, f, want) },
		})
	})
}

// runsAnother reports whether an instance blocks because of the version it runs.
func runsAnother(b events.Blocker) bool {
	return b.Instance != "" && b.Reason != events.BlockNotUnderstood
}

func checkSizes(t *rapid.T, f *fleet, want map[name]events.Report) {
	services, reporting := map[string]int{}, map[secret.ID][]string{}
	for n, r := range want {
		services[n.service]++
		for _, s := range r.Secrets {
			reporting[s.SecretID] = append(reporting[s.SecretID], n.service)
		}
	}
	if !maps.Equal(f.services, services) || len(f.instances) != len(want) || len(f.secrets) != len(reporting) {
		t.Fatalf("got %v, %d instances, %d secrets, want %v, %d, %d", f.services, len(f.instances), len(f.secrets), services, len(want), len(reporting))
	}
	for id, s := range reporting {
		slices.Sort(s)
		if got := f.reporting(id); !slices.Equal(got, slices.Compact(s)) {
			t.Fatalf("%s is reported by %v, want %v", id, got, s)
		}
	}
}

func TestARenewedReportChangesNothingAndCostsNothing(t *testing.T) {
	f := newFleet()
	r := events.Report{Service: "api", Instance: "1"}
	for i := range 100 {
		r.Secrets = append(r.Secrets, events.Running{SecretID: secret.ID(fmt.Sprintf("S%03d", i)), VersionID: "v1", Status: events.StatusApplied})
	}
	f.apply(r, func(secret.ID) {})
	told := 0
	allocs := testing.AllocsPerRun(100, func() { f.apply(r, func(secret.ID) { told++ }) })
	if told != 0 || allocs != 0 {
		t.Errorf("%d secrets were told, %v allocations, want none", told, allocs)
	}
}
