package notify

import (
	"hash/maphash"
	"iter"
)

// index finds incarnations by name: a hash table with linear probing that holds
// pointers only. A map would hold every name a second time, and take three times as
// much.
type index struct {
	slots []*instance // at most seven eighths of them are taken; their number is a power of two
	n     int
	seed  maphash.Seed
}

// leastSlots is the size of the first table.
const leastSlots = 8

func newIndex() index { return index{slots: make([]*instance, leastSlots), seed: maphash.MakeSeed()} }

// home returns where the search for an incarnation begins. It leaves out the
// service: a service names only its own, so that few share an incarnation.
func (x *index) home(incarnation string) int {
	return int(maphash.String(x.seed, incarnation) & uint64(len(x.slots)-1)) // #nosec G115 -- it is less than the length
}

// at returns the slot of a name, or the empty one where it belongs.
func (x *index) at(n name) int {
	i := x.home(n.incarnation)
	for x.slots[i] != nil && !x.slots[i].is(n) {
		i = x.after(i)
	}
	return i
}

func (x *index) after(i int) int { return (i + 1) & (len(x.slots) - 1) }

// get returns the incarnation with a name, nil if there is none.
func (x *index) get(n name) *instance { return x.slots[x.at(n)] }

// put adds an incarnation that is not there.
func (x *index) put(who *instance) {
	if x.n++; x.n > len(x.slots)/8*7 {
		old := x.slots
		x.slots = make([]*instance, 2*len(old))
		for _, other := range old {
			if other != nil {
				x.slots[x.at(other.name())] = other
			}
		}
	}
	x.slots[x.at(who.name())] = who
}

// remove takes out an incarnation that is there. It closes the gap, so that no search
// ends too early.
func (x *index) remove(n name) {
	gap := x.at(n)
	x.slots[gap] = nil
	x.n--
	for i := x.after(gap); x.slots[i] != nil; i = x.after(i) {
		moved := x.slots[i]
		x.slots[i] = nil
		x.slots[x.at(moved.name())] = moved
	}
}

// all yields every incarnation. None may be added or removed meanwhile.
func (x *index) all() iter.Seq[*instance] {
	return func(yield func(*instance) bool) {
		for _, who := range x.slots {
			if who != nil && !yield(who) {
				return
			}
		}
	}
}
