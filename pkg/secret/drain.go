package secret

import (
	"cmp"
	"time"
)

// DrainMode says what becomes of sessions with an older version that are open at the
// target after the deadline.
type DrainMode string

// The modes. None of them revokes a version before no session of it is left.
const (
	// DrainWait leaves them to a person, and alerts. It is the zero value's meaning.
	DrainWait DrainMode = "wait"
	// DrainEndIdle ends those that are idle, again and again.
	DrainEndIdle DrainMode = "end-idle"
	// DrainEndAll ends all of them, whatever they do.
	DrainEndAll DrainMode = "end-all"
)

// DefaultDrainDeadline is [Drain.Deadline] unless a spec says otherwise.
const DefaultDrainDeadline = time.Hour

// Drain says how the use of older versions ends at the target.
type Drain struct {
	Mode DrainMode
	// Deadline counts from when the rollout begins to drain. 0 means
	// DefaultDrainDeadline, negative means never.
	Deadline time.Duration
	// Soak is how long a version is suspended before it is revoked. 0 means the grace
	// period, negative means that it is not suspended.
	Soak time.Duration
}

// DrainMode returns the mode in force.
func (s Spec) DrainMode() DrainMode { return cmp.Or(s.Drain.Mode, DrainWait) }

// DrainDeadline returns the deadline in force; 0 means never.
func (s Spec) DrainDeadline() time.Duration {
	return orDefault(s.Drain.Deadline, DefaultDrainDeadline)
}

// SoakPeriod returns how long a version is suspended before it is revoked; 0 means not at
// all.
func (s Spec) SoakPeriod() time.Duration { return orDefault(s.Drain.Soak, s.GracePeriod()) }
