package rollout

import (
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// Wake returns when [Advance] has to be asked again without any event; the zero
// Time means never.
func (r Rollout) Wake(now time.Time, f Facts) time.Time {
	if r.Ended() {
		return time.Time{}
	}
	at := now.Add(Recheck)
	held := r.heldUntil()
	if r.State != events.RolloutRolling && r.State != events.RolloutWaiting {
		held = time.Time{}
	}
	times := []time.Time{held, r.Since.Add(f.Deadline), r.behindSince().Add(f.Deadline), r.RetireAt, r.Reminder}
	for _, b := range f.Blocking {
		times = append(times, b.Until)
	}
	for _, t := range times {
		if t.After(now) && t.Before(at) {
			at = t
		}
	}
	return at
}
