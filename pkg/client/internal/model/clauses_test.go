//go:build !race

package model

import (
	"fmt"
	"os"
	"regexp"
	"testing"
)

// clauses are the safety clauses of the rules, and the world in which each of them
// is missed.
var clauses = []struct{ name, world string }{
	{"the floor", "refuse"},
	{"silent waits for its fence", "refuse"},
	{"a record outlives its lease", "refuse"},
	{"live blocks", "refuse"},
	{"joining blocks everything", "serve"},
	{"the clock may be slow", "refuse"},
	{"the fence is checked at use", "refuse"},
	{"a stale read confirms nothing", "refuse"},
	{"a read confirms only what it calls current", "refuse"},
	{"a renewal only extends", "refuse"},
	{"a renewal counts when its answer arrives in time", "refuse"},
	{"the own record is acknowledged", "refuse"},
	{"the record follows the switch", "refuse"},
	{"renewal by compare-and-set", "loss"},
	{"uses are written after the join", "loss"},
	{"a stream that was lost is unknown", "serve"},
	{"the presence is purged first", "purge"},
	{"serve blocks until it has ended", "serve"},
	{"serve joins first", "serve"},
	{"serve reads the primary first", "serve"},
	{"what is accepted blocks", "accept"},
	{"what is accepted has its own confirmation", "accept"},
	{"what is loaded counts from the renewal", "accept"},
	{"what is loaded needs a record", "accept"},
	{"the stage is taken before the proof", "accept"},
	{"a full stream blocks", "full"},
	{"what is not understood blocks", "garbled"},
	{"a subscriber without an instance blocks", "two services"},
	{"a job counts until its longest run", "job"},
	{"a consumer blocks until it is confirmed", "consumer"},
	{"a confirmation is of one version", "consumer"},
	{"a consumer counts as moved after its time", "after"},
	{"a consumer that counts as moved makes the answer unknown", "after"},
	{"a fleet that was not heard from blocks", "fleets"},
	{"a fleet counts while an instance of it lives", "fleets"},
	{"a presumed end waits for its time", "presumed"},
	{"a presumed end makes the answer unknown", "presumed"},
	{"what is not understood is not presumed to have ended", "garbled and presumed"},
	{"an emergency is one by the log", "emergency"},
	{"an emergency names whom it breaks", "emergency"},
	{"an emergency waits for what serves on", "emergency and serve"},
	{"a forced revocation names whom it breaks", "force"},
	{"a paused secret waits", "people"},
	{"a withdrawn value is not replaced", "people"},
	{"a worker promotes the version of its own token", "people"},
	{"the order names the current version", "log"},
	{"only of the same rollout", "log"},
	{"only once it drains", "log"},
	{"grace counts from the last convergence", "log"},
	{"a move follows the event that it was decided on", "log"},
	{"one token for each cause", "rotations"},
	{"promotion by compare-and-set", "rotations"},
}

// TestEachClauseIsNeeded also holds the table of docs/model.md to what it finds.
func TestEachClauseIsNeeded(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/model.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clauses {
		t.Run(c.name, func(t *testing.T) {
			w := worldOf(t, c.world)
			w.without = c.name
			f := w.search(500_000, nil)
			t.Log(f)
			if f.broken == "" {
				t.Error("no counterexample")
			}
			row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %s \| [^|]+ \| %s \| %d \|$`, regexp.QuoteMeta(c.name), c.world, f.depth))
			if !row.Match(page) {
				t.Errorf("docs/model.md does not say that %d steps in the world %q miss it", f.depth, c.world)
			}
		})
	}
}

// TestAClauseThatIsImplied: the end of a fence counts from the promotion, and so does
// the floor, which is never earlier. The clause stays because status shows the ends of
// fences.
func TestAClauseThatIsImplied(t *testing.T) {
	w := worldOf(t, "refuse")
	w.without = "a fence counts from the promotion too"
	if f := w.search(*limit, nil); f.broken != "" || !f.complete {
		t.Errorf("%s", f)
	}
	w.without = "neither a fence nor the floor counts from the promotion"
	if f := w.search(*limit, nil); f.broken == "" {
		t.Errorf("no counterexample: %s", f)
	}
}

func TestTheSearchSeesARolloutThatIsStuck(t *testing.T) {
	for _, name := range []string{"refuse", "log"} {
		w := worldOf(t, name)
		w.without = "a worker retires"
		if f := w.search(20_000, w.stuck); f.broken == "" {
			t.Errorf("%s: %s", name, f)
		}
	}
}

// TestSymmetryHidesNothing searches a world with and without the reduction.
func TestSymmetryHidesNothing(t *testing.T) {
	reduced, full := worldOf(t, "log"), worldOf(t, "log")
	full.tellsApart = true
	for _, w := range []*world{reduced, full} {
		w.versions = 2
	}
	a, b := reduced.search(*limit, nil), full.search(*limit, nil)
	t.Logf("%s; %s", a, b)
	if !a.complete || !b.complete || a.broken != "" || b.broken != "" || a.states >= b.states {
		t.Errorf("with the reduction: %s; without: %s", a, b)
	}
}

func worldOf(t *testing.T, name string) *world {
	t.Helper()
	for _, w := range worlds() {
		if w.name == name {
			return w
		}
	}
	t.Fatalf("there is no world %q", name)
	return nil
}
