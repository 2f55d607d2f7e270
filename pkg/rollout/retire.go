package rollout

import (
	"fmt"
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
}

// Allowed reports whether the previous version may be retired, as far as the log
// tells.
func (v Verdict) Allowed() bool { return v.Because == "" }

// MayRetire compares an order to retire with the last rollout event of the
// secret. It allows the retirement only if that event says that the very rollout
// of the order (the same version and the same start) has converged and that its
// grace period is over. An order proves nothing: an instance with another
// version may have appeared since, the version may have been announced again, or
// the log may have been lost.
func MayRetire(order, logged events.Data, now time.Time) Verdict {
	no := func(format string, args ...any) Verdict { return Verdict{Because: fmt.Sprintf(format, args...)} }
	ro := logged.Rollout
	switch {
	case ro == nil:
		return no("the log has no rollout of the secret")
	case logged.VersionID != order.VersionID:
		return no("the last rollout in the log is that of version %s", logged.VersionID)
	case order.Rollout == nil || !ro.StartedAt.Equal(order.Rollout.StartedAt):
		return no("the version was announced again at %s", ro.StartedAt.UTC().Format(time.RFC3339))
	case ro.State == events.RolloutRetired:
		return Verdict{} // an earlier run got this far
	case ro.State != events.RolloutConverged:
		return no("its rollout is %s", ro.State)
	case ro.RetireAt.IsZero():
		return no("its rollout has no time of retirement")
	}
	if left := ro.RetireAt.Sub(now.Add(clockSkew)); left > 0 {
		return Verdict{Because: "its grace period lasts another " + left.Round(time.Second).String(), Wait: left}
	}
	return Verdict{}
}
