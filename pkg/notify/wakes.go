package notify

import (
	"container/heap"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
)

// tracked is a secret whose rollout is followed.
type tracked struct {
	rollout rollout.Rollout
	// next is what was announced while rollout had not ended.
	next *events.Data
	// seq is the sequence of the secret's last rollout event.
	seq uint64
	// told are the services, not configured as subscribers, that were told of
	// the version because they turned out to use another.
	told []string
	wake time.Time
	at   int // in wakes, less than 0 while it is not there
}

// before reports whether all that is known was announced before the given time.
func (tr *tracked) before(at time.Time) bool {
	return tr.rollout.StartedAt.Before(at) && (tr.next == nil || tr.next.OccurredAt.Before(at))
}

// wakes holds every rollout that has to be looked at some day even if nothing
// happens, the first at the front: one timer does for all of them.
type wakes []*tracked

func (w *wakes) Len() int           { return len(*w) }
func (w *wakes) Less(i, j int) bool { return (*w)[i].wake.Before((*w)[j].wake) }
func (w *wakes) Swap(i, j int) {
	h := *w
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push is for package heap only.
func (w *wakes) Push(x any) {
	tr := x.(*tracked) //nolint:forcetypeassert // package heap passes on what set gave it
	tr.at = len(*w)
	*w = append(*w, tr)
}

// Pop is for package heap only.
func (w *wakes) Pop() any {
	last := len(*w) - 1
	tr := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	tr.at = -1
	return tr
}

// set moves tr to the given time, or takes it out when that is zero.
func (w *wakes) set(tr *tracked, at time.Time) {
	tr.wake = at
	switch {
	case at.IsZero() && tr.at >= 0:
		heap.Remove(w, tr.at)
	case at.IsZero():
	case tr.at >= 0:
		heap.Fix(w, tr.at)
	default:
		heap.Push(w, tr)
	}
}

// next returns the earliest time, and false when there is none.
func (w *wakes) next() (time.Time, bool) {
	if len(*w) == 0 {
		return time.Time{}, false
	}
	return (*w)[0].wake, true
}

// due takes out what has to be looked at now.
func (w *wakes) due(now time.Time, yield func(*tracked)) {
	for len(*w) > 0 && !(*w)[0].wake.After(now) {
		first := (*w)[0]
		heap.Pop(w)
		yield(first)
	}
}
