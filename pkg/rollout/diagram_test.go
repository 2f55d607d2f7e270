package rollout

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestTheDiagramShowsEveryMove holds the diagram of a rollout in the glossary to
// what Advance does in every state, and to what the worker publishes.
func TestTheDiagramShowsEveryMove(t *testing.T) {
	t.Parallel()
	states := []events.RolloutState{
		"", events.RolloutRolling, events.RolloutWaiting, events.RolloutStalled, events.RolloutConverged, events.RolloutDraining, events.RolloutRetired,
		events.RolloutSuperseded, events.RolloutRolledBack,
	}
	moves := map[string]bool{}
	note := func(from, to events.RolloutState) {
		if from != to && from != "" {
			moves[string(from)+" "+string(to)] = true
		} else if from == "" && to == events.RolloutRolling {
			moves["[*] rolling"] = true
		}
	}
	for _, from := range states {
		for _, r := range []Rollout{inState(from), with(inState(from), drained)} {
			for _, f := range everyFacts() {
				next, _ := Advance(t0.Add(time.Hour), r, f)
				note(from, next.State)
			}
		}
		q := Question{VersionID: "v2", Unstaged: true, Spec: secret.Spec{ID: "S", Services: []string{"api"}}}
		order := inState(from).data(t0, Facts{})
		if q.MayRetire(order, order, fleetOf(using("v2"))).Allowed() {
			note(from, Retired("/worker", t0, order, 1).Data.Rollout.State)
		}
	}
	if got, want := slices.Sorted(maps.Keys(moves)), edges(t, "A rollout"); !slices.Equal(got, want) {
		t.Errorf("the code moves\n%s\nthe diagram shows\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// everyFacts returns what a rollout may be decided on.
func everyFacts() (out []Facts) {
	for _, blocking := range [][]events.Blocker{nil, old, silent, nobody, fenced} {
		for _, accepting := range [][]events.Blocker{nil, accept} {
			for _, within := range []time.Duration{0, time.Nanosecond, 1000 * time.Hour} {
				for n := range 4 {
					out = append(out, Facts{Configured: true, Grace: grace, Deadline: within, Newer: n&1 == 1, Fresh: n&2 == 2, Blocking: blocking, Accepting: accepting})
				}
			}
		}
	}
	return out
}

// edges returns the arrows of the diagram below a heading of the glossary.
func edges(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/glossary.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("the glossary has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^ +(\S+) --> (\S+):`).FindAllStringSubmatch(section, -1) {
		out = append(out, m[1]+" "+m[2])
	}
	slices.Sort(out)
	return out
}
