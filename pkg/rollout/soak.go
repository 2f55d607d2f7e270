package rollout

import (
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// Soak is where a retirement is between its proof and the revocation. What it will revoke
// is suspended first, and comes back if it is used or the proof no longer holds.
type Soak struct {
	// Period is how long the suspension lasts, 0 for none.
	Period time.Duration
	// Suspended says that the versions are suspended, or may be: the log says so before
	// a worker suspends them. At is when it had done so, zero if that is not known.
	Suspended bool
	At        time.Time
	// Held says that something holds the retirement back, or that the target has refused
	// a use of the versions.
	Held bool
}

// SoakStep is what a worker does next about a suspension.
type SoakStep string

// The steps.
const (
	SoakSuspend SoakStep = "suspend"
	SoakWait    SoakStep = "wait"
	SoakResume  SoakStep = "resume"
	SoakRevoke  SoakStep = "revoke"
	// SoakNone: nothing is suspended, and nothing may be revoked.
	SoakNone SoakStep = "none"
)

// Step returns what comes next at a time, and for SoakWait how long that is. A suspension
// in the future was made by a worker whose clock was ahead: its time counts anew.
func (s Soak) Step(now time.Time) (SoakStep, time.Duration) {
	switch left := s.Period - now.Sub(s.At); {
	case s.Held && s.Suspended:
		return SoakResume, 0
	case s.Held:
		return SoakNone, 0
	case s.Period <= 0:
		return SoakRevoke, 0
	case !s.Suspended || s.At.IsZero() || s.At.After(now):
		return SoakSuspend, 0
	case left > 0:
		return SoakWait, left
	default:
		return SoakRevoke, 0
	}
}

// comesBack reports whether what is suspended has to come back, for which a worker is
// ordered: an instance needs it, or may.
func (r Rollout) comesBack(f Facts) bool {
	return r.Suspended && r.State != "" && (r.State != events.RolloutDraining || len(f.Blocking) == 0 && len(f.Accepting) > 0)
}

// resume orders the retirement, which a worker refuses, and with that resumes what is
// suspended.
func (r Rollout) resume(now time.Time) (Rollout, []Action) {
	r.Ordered, r.Reminder = r.State == events.RolloutDraining, now.Add(DrainReminder)
	return r, []Action{{Kind: ActionArmRetire, Reason: ReasonSuspended, At: now}}
}

// Suspended returns the secret.rollout event that says that the versions before are about
// to be suspended at the target, or have come back because of the given uses. The state
// stays that of the rollout in the log.
func Suspended(source string, at time.Time, logged events.Data, suspended bool, uses []events.Blocker) events.Event {
	d, ro := logged, *logged.Rollout
	if ro.State == events.RolloutRolling || ro.State == events.RolloutStalled {
		ro.BehindSince = Resume(logged).behindSince()
	}
	ro.Suspended = suspended
	if len(uses) > 0 {
		ro.Blocking, ro.BlockingTotal = Listed(uses), len(uses)
	}
	d.OccurredAt, d.Retry, d.Rollout = at, events.Retry{}, &ro
	return rolloutEvent(source, d)
}
