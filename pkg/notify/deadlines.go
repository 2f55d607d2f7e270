package notify

import (
	"container/heap"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// tracked is a secret whose rollout is followed.
type tracked struct {
	rollout rollout.Rollout
	// next is what was announced while rollout had not ended.
	next *events.Data
	// seq is the sequence of the secret's last rollout event.
	seq uint64
	// notified are the services, not configured as subscribers, that were
	// notified of the version because they turned out to use another one.
	notified []string
	// cause is the trace of the announcement of version traced.
	cause  trace.SpanContext
	traced secret.VersionID
	// made and notAfter are when the last announced version was announced, and ends.
	made, notAfter time.Time
	deadline       time.Time
	at             int // the index in deadlineQueue, negative while it is not there
}

// before reports whether everything known was announced before the given time.
func (tr *tracked) before(at time.Time) bool {
	return tr.rollout.StartedAt.Before(at) && (tr.next == nil || tr.next.OccurredAt.Before(at))
}

// deadlineQueue is a min-heap of rollouts by their next deadline. A rollout is in it
// once at most, so that the queue is as long as the list of secrets whatever happens.
type deadlineQueue []*tracked

func (q *deadlineQueue) Len() int           { return len(*q) }
func (q *deadlineQueue) Less(i, j int) bool { return (*q)[i].deadline.Before((*q)[j].deadline) }
func (q *deadlineQueue) Swap(i, j int) {
	h := *q
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push is for package heap only.
func (q *deadlineQueue) Push(x any) {
	tr := x.(*tracked) //nolint:forcetypeassert // package heap passes on what set gave it
	tr.at = len(*q)
	*q = append(*q, tr)
}

// Pop is for package heap only.
func (q *deadlineQueue) Pop() any {
	last := len(*q) - 1
	tr := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	tr.at = -1
	return tr
}

// set moves tr to the given time, or takes it out when that is zero.
func (q *deadlineQueue) set(tr *tracked, at time.Time) {
	tr.deadline = at
	switch {
	case at.IsZero() && tr.at >= 0:
		heap.Remove(q, tr.at)
	case at.IsZero():
	case tr.at >= 0:
		heap.Fix(q, tr.at)
	default:
		heap.Push(q, tr)
	}
}

// next returns the earliest time, and false when there is none.
func (q *deadlineQueue) next() (time.Time, bool) {
	if len(*q) == 0 {
		return time.Time{}, false
	}
	return (*q)[0].deadline, true
}

// due takes out what has to be looked at now.
func (q *deadlineQueue) due(now time.Time, yield func(*tracked)) {
	for len(*q) > 0 && !(*q)[0].deadline.After(now) {
		first := (*q)[0]
		heap.Pop(q)
		yield(first)
	}
}
