package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// clockSkew is by how much the clock of the server, which fires the timer of an
// order, may be ahead of ours.
const clockSkew = time.Second

// Verdict is the answer to an order to retire. The zero value allows it.
type Verdict struct {
	// Because says what keeps the previous version, "" for nothing.
	Because string
	// Wait is when it is worth asking again, 0 if that is not known.
	Wait time.Duration
	// Done is true when an earlier run has carried the order out: nothing is left to
	// do.
	Done bool
	// Breaks are the instances that an emergency does not wait for.
	Breaks []events.Blocker
}

// Allowed reports whether the previous version may be retired.
func (v Verdict) Allowed() bool { return v.Because == "" && !v.Done }

func no(format string, args ...any) Verdict { return Verdict{Because: fmt.Sprintf(format, args...)} }

// IsEmergency reports whether an order to retire, and the rollout that the log has, are
// those of an emergency.
func IsEmergency(order, logged events.Data) bool {
	return order.Reason == events.ReasonEmergency && logged.Reason == events.ReasonEmergency
}

// MayRetire decides about an order to retire every version before q.VersionID.
// logged is the last rollout event of the secret, read before the store. It allows
// the retirement only if that event says that the very rollout of the order has
// drained, and the fleet that no instance uses or accepts what was before. An order
// proves nothing: it may be old, repeated or forged. Since no reader finds the
// versions before by their stage any more, what it allows stays allowed, and a worker
// may act on it late.
func (q Question) MayRetire(order, logged events.Data, f events.Fleet) Verdict {
	q.Emergency = IsEmergency(order, logged)
	v := sameRollout(order, logged)
	switch {
	case order.VersionID != q.VersionID:
		return no("version %s is current", q.VersionID)
	case v.Because != "":
		return v
	case logged.Rollout.State == events.RolloutRetired:
		return Verdict{Done: true}
	case logged.Rollout.State != events.RolloutDraining:
		return no("its rollout is %s", logged.Rollout.State)
	case logged.Rollout.RetireAt.IsZero():
		return no("its rollout has no time of retirement")
	case !q.Unstaged:
		return no("a version before has a stage: take it away and read the fleet again")
	}
	s := q.Ask(f)
	left := logged.Rollout.RetireAt.Sub(f.At.Add(clockSkew))
	if !q.Emergency {
		left = max(left, s.Floor.Sub(f.At))
	}
	if left > 0 {
		because := "its grace period and floor last another " + left.Round(time.Second).String()
		if s.FloorBy != "" && !q.Emergency && left == s.Floor.Sub(f.At) {
			because += ": " + s.FloorBy
		}
		return Verdict{Because: because, Wait: left}
	}
	v = s.verdict(f.At)
	v.Breaks = s.Breaks
	return v
}

// verdict returns what the fleet keeps waiting.
func (s Standing) verdict(now time.Time) Verdict {
	all := slices.Concat(s.Blocking, s.Accepting)
	switch {
	case s.Unknown != "":
		return no("%s", s.Unknown)
	case len(all) == 0:
		return Verdict{}
	case !all[0].Until.IsZero():
		return Verdict{Because: fmt.Sprintf("it waits for %s until %s", firstOf(all), clock(all[0].Until)), Wait: all[0].Until.Sub(now)}
	default:
		return no("it waits for %s", firstOf(all))
	}
}

// firstOf names the first of those that are waited for.
func firstOf(all []events.Blocker) string {
	if len(all) == 1 {
		return all[0].String()
	}
	return fmt.Sprintf("%s and %d more", all[0], len(all)-1)
}

// sameRollout compares an order with the last rollout event of the secret: the
// version may have been announced again, or the log may have been lost.
func sameRollout(order, logged events.Data) Verdict {
	ro := logged.Rollout
	switch {
	case ro == nil:
		return no("the log has no rollout of the secret")
	case logged.VersionID != order.VersionID:
		return no("the last rollout in the log is that of version %s", logged.VersionID)
	case order.Rollout == nil || !ro.StartedAt.Equal(order.Rollout.StartedAt):
		return no("the version was announced again at %s", clock(ro.StartedAt))
	default:
		return Verdict{}
	}
}
