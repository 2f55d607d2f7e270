package events

import "errors"

// ErrOutranked is wrapped by the error of [Bus.Arm] when the timer of the secret holds
// a rotation that must not be lost to the one that was to be armed.
var ErrOutranked = errors.New("a rotation that was asked for waits in the timer")

// Asked reports whether a person or the store asked for a rotation. The others are
// scheduled: a sweep brings them back, whatever happens to their timer.
func (r Reason) Asked() bool {
	switch r {
	case ReasonManual, ReasonEmergency, ReasonLambda, ReasonSupplied:
		return true
	default:
		return false
	}
}

// rank orders rotations by what is lost with them.
func (r Reason) rank() int {
	switch {
	case r == ReasonEmergency:
		return 2
	case r.Asked():
		return 1
	default:
		return 0
	}
}

// Outranks reports whether a rotation that waits in the timer of its secret stays
// there when o is to be armed. An emergency does, whatever version o is about: the
// caller may have read the store before that version was current. Another one that
// was asked for yields to the rotation of another version, because the caller has
// read which version is current.
func (e Event) Outranks(o Event) bool {
	if e.Type != TypeNearExpiry || e.Data.Reason.rank() <= o.Data.Reason.rank() {
		return false
	}
	return e.Data.Reason == ReasonEmergency || e.Data.VersionID == o.Data.VersionID && e.Data.Incarnation == o.Data.Incarnation
}

// continues reports whether a retirement that waits in the timer of its secret is a later
// try of the one that o orders. It knows since when the target has seen no session, and
// the order would begin that time anew.
func (e Event) continues(o Event) bool {
	a, b := e.Data.Rollout, o.Data.Rollout
	return e.Type == TypeRetire && o.Type == TypeRetire && e.Data.Attempt > o.Data.Attempt && e.Data.VersionID == o.Data.VersionID &&
		a != nil && b != nil && a.StartedAt.Equal(b.StartedAt) && a.RetireAt.Equal(b.RetireAt)
}
