//go:build !race

package model

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/tradepulse/rotator/pkg/client/internal/fence"
	"github.com/tradepulse/rotator/pkg/events"
)

// world is what is searched: who takes part, which faults happen, and which clause
// is taken away.
type world struct {
	name     string
	n        int // instances
	versions uint8
	workersN int
	// kind tells instances apart: 0 refuses past its fence if refuse is set, 1 serves.
	kind                         [maxInst]uint8
	refuse, accepts              bool // the users check at use; an instance accepts what was before
	startsAlone                  bool // a serve user starts after a while without a record
	restarts, crashes            bool
	loses, full, purges, garbled bool // the stream is lost once, is full; records are purged, are not understood
	unjoined                     bool // a record that is not understood has no presence, and was written long ago
	other                        bool // instance 0 belongs to a service of its own
	job, consumer                bool // instance 0 is a run of a job, a consumer without a client
	fleets                       bool // instance 0 is in a fleet of its own
	presumes, after              bool // an operator says when a silent instance has ended, a consumer has moved
	emergencies                  bool // a version may be promoted because the one before leaked
	forces                       bool // a person revokes a version without proof
	persons                      bool // people pause rotations and supply values
	answers                      bool // what status answers is checked
	notifiers                    int
	rotations                    bool
	plain                        bool // instances are healthy until they are killed
	tellsApart                   bool // no symmetry, to check the reduction
	without                      string
	asked                        map[state]bool
	answered                     map[state]bool
	named                        map[state][]events.Blocker
	decided                      map[state]uint8
}

func (w *world) off(clause string) bool { return w.without == clause }

func (w *world) start0() state {
	s := state{cur: 1, promoted: never, began: never, of: 1, is: 4, since: never, converged: never, calm: never}
	for i := range w.n {
		s.in[i] = begin()
	}
	if w.consumer {
		s.in[0].phase, s.in[0].ver = up, 1
	}
	return s
}

// broken returns which promise a state breaks, "" for none.
func (w *world) broken(s state) string {
	at := clock(0)
	for i := range w.n {
		p := s.in[i]
		if p.phase != up || s.in[i].ended == 1 || p.gone == 1 || p.named == 1 {
			continue
		}
		f := p.fence()
		checks := w.refuse && w.kind[i] == 0 && !w.off("the fence is checked at use")
		if p.ver <= s.dead && (!checks || usable(f, at)) {
			return fmt.Sprintf("instance %d uses v%d, which is retired", i, p.ver)
		}
		others := f.OthersUsable(at) || w.off("what is accepted has its own confirmation") && f.Usable(at)
		if p.acc != 0 && p.acc <= s.dead && (!checks || others) {
			return fmt.Sprintf("instance %d accepts v%d, which is retired", i, p.acc)
		}
	}
	for v := uint8(1); v <= 3; v++ {
		if s.made>>(2*v)&3 > 1 {
			return fmt.Sprintf("two versions were made from v%d", v)
		}
	}
	if w.answers {
		return w.brokenAnswer(s)
	}
	return ""
}

func usable(f fence.Fence, at fence.Clock) bool { return f.Usable(at) }

// brokenMove returns which promise the move from s to n breaks.
func (w *world) brokenMove(s, n state) string {
	if n.cur < s.cur {
		return "an older version became current again"
	}
	if bad := brokenPeople(s, n); w.persons && bad != "" {
		return bad
	}
	if w.notifiers == 0 || n.work == s.work {
		return ""
	}
	for k, o := range n.work {
		if o != 0 && o != s.work[k] {
			switch {
			case s.of != o:
				return "retired in the rollout of another version"
			case s.calm < 1:
				return "retired before the grace period after the last convergence was over"
			case s.drained == 0:
				return "retired before services were told to drain"
			}
		}
	}
	return ""
}

// found is the outcome of a search.
type found struct {
	states, depth int
	complete      bool
	broken        string
	path          []string
}

func (f found) String() string {
	out := fmt.Sprintf("%d states, depth %d", f.states, f.depth)
	if f.complete {
		out += ", complete"
	}
	if f.broken != "" {
		out += ": " + f.broken + " after " + strings.Join(f.path, " | ")
	}
	return out
}

var seed = maphash.MakeSeed()

// table is a set of the fingerprints of states, in the order in which they were
// found. Two states with one fingerprint would hide what follows from the second:
// at ten million states that happens in one search of 370,000.
type table struct {
	prints  []uint64
	parents []uint32
	slots   []uint32 // 1+index, 0 is free; a power of two
}

func (t *table) add(mark uint64, parent uint32) bool {
	if len(t.prints)*2 >= len(t.slots) {
		t.slots = make([]uint32, max(1024, 2*len(t.slots)))
		for i, p := range t.prints {
			t.slots[t.find(p)] = uint32(i + 1)
		}
	}
	at := t.find(mark)
	if t.slots[at] != 0 {
		return false
	}
	t.prints, t.parents = append(t.prints, mark), append(t.parents, parent)
	t.slots[at] = uint32(len(t.prints))
	return true
}

func (t *table) find(mark uint64) uint64 {
	mask := uint64(len(t.slots) - 1)
	at := mark & mask
	for t.slots[at] != 0 && t.prints[t.slots[at]-1] != mark {
		at = (at + 1) & mask
	}
	return at
}

// each yields every successor of s.
func (w *world) each(s state, next emit) {
	for i := range w.n {
		w.client(i, s, next)
	}
	w.server(s, next)
}

// search goes through the states breadth first, up to a limit, and calls visit with
// each of them.
func (w *world) search(limit int, visit func(state) string) found {
	w.asked, w.answered, w.decided = map[state]bool{}, map[state]bool{}, map[state]uint8{}
	w.named = map[state][]events.Blocker{}
	t := &table{}
	level, begun := []state{w.sorted(w.start0())}, 0
	t.add(maphash.Comparable(seed, level[0]), 0)
	for depth := 0; ; depth++ {
		var following []state
		for i, s := range level {
			bad := w.broken(s)
			if bad == "" && visit != nil {
				bad = visit(s)
			}
			if bad != "" {
				return found{len(t.prints), depth, false, bad, w.path(t, begun+i)}
			}
			moved := ""
			w.each(s, func(what string, _ int, n state) {
				if moved == "" {
					if moved = w.brokenMove(s, n); moved != "" {
						moved += ": " + what
					}
				}
				n = w.sorted(n)
				if len(t.prints) < limit && t.add(maphash.Comparable(seed, n), uint32(begun+i)) {
					following = append(following, n)
				}
			})
			if moved != "" {
				return found{len(t.prints), depth, false, moved, w.path(t, begun+i)}
			}
		}
		begun += len(level)
		if len(following) == 0 {
			return found{states: len(t.prints), depth: depth, complete: len(t.prints) < limit}
		}
		level = following
	}
}

// path returns the actions that lead to a state.
func (w *world) path(t *table, to int) []string {
	var chain []int
	for i := to; i != 0; i = int(t.parents[i]) {
		chain = append([]int{i}, chain...)
	}
	s, out := w.sorted(w.start0()), []string(nil)
	for _, i := range chain {
		done := false
		w.each(s, func(what string, who int, n state) {
			if n = w.sorted(n); !done && maphash.Comparable(seed, n) == t.prints[i] {
				s, done = n, true
				out = append(out, what+" "+strconv.Itoa(who))
			}
		})
	}
	return out
}
