package rollout

import (
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Rollout is one announced version on its way to every live instance. The zero
// value is no rollout; [Begin] makes one.
type Rollout struct {
	SecretID          secret.ID
	Store             string
	VersionID         secret.VersionID
	PreviousVersionID secret.VersionID
	RotationID        secret.Token
	// Cause is why the version was made.
	Cause events.Reason

	// State is where the version is, "" until it has been published that it is
	// rolling. Since is when State was entered.
	State events.RolloutState
	Since time.Time
	// StartedAt is when the version was announced. With VersionID it tells one
	// rollout from another: a version may be announced again.
	StartedAt time.Time
	// ConvergedAt is when every instance was last found to run the version,
	// and stays set when that turns out not to hold.
	ConvergedAt time.Time
	// RetireAt is when the previous version may be retired; zero in any state
	// but converged and retired, and when there is no previous version.
	RetireAt time.Time
	// Reminder is when the retirement is ordered again if it has not happened.
	// Zero means that this process has not ordered it yet. It is not published.
	Reminder time.Time
}

const (
	// HoldOff is how long a rollout that fell back stays rolling at least. It
	// keeps two notifiers whose configurations differ for a while from moving it
	// back and forth as fast as they can publish.
	HoldOff = 10 * time.Second
	// RetireReminder is how long after RetireAt the retirement is ordered again:
	// longer than a worker's longest pause between two tries.
	RetireReminder = 30 * time.Minute
	// Recheck is how often a rollout that has not ended is decided anew without
	// any event, because the configuration of its secret may have changed.
	Recheck = 5 * time.Minute
)

// Begin returns the rollout of the version that d announces.
func Begin(d events.Data) Rollout {
	return Rollout{
		SecretID: d.SecretID, Store: d.Store, VersionID: d.VersionID, PreviousVersionID: d.PreviousVersionID,
		RotationID: d.RotationID, Cause: d.Reason, StartedAt: d.OccurredAt,
	}
}

// Resume returns the rollout that a [events.TypeRollout] event describes.
func Resume(d events.Data) Rollout {
	r := Begin(d)
	r.State, r.Since = d.Rollout.State, d.OccurredAt
	r.StartedAt, r.ConvergedAt, r.RetireAt = d.Rollout.StartedAt, d.Rollout.ConvergedAt, d.Rollout.RetireAt
	return r
}

// Ended reports whether the rollout is in a final state. A secret's first version
// has nothing before it to retire, so converged is final for it.
func (r Rollout) Ended() bool {
	switch r.State {
	case events.RolloutRetired, events.RolloutSuperseded, events.RolloutRolledBack:
		return true
	case events.RolloutConverged:
		return r.PreviousVersionID == ""
	default:
		return false
	}
}

// Shrunk returns r without the fields that are not read once it has ended, to
// save memory: most rollouts that a notifier keeps have ended.
func (r Rollout) Shrunk() Rollout {
	if r.Ended() {
		r.Store, r.RotationID, r.Cause = "", "", ""
	}
	return r
}

// Is reports whether r is the rollout of version v announced at the given time.
// The zero time matches any.
func (r Rollout) Is(v secret.VersionID, started time.Time) bool {
	return r.VersionID == v && (started.IsZero() || r.StartedAt.Equal(started))
}

// Facts is what [Advance] decides on.
type Facts struct {
	// Configured is false for a secret that is neither configured nor discovered.
	// Its subscribers are then unknown, so nothing can be proven.
	Configured bool
	// Grace is how long the previous version outlives convergence, 0 is not at
	// all; Deadline is how long a rollout may take, 0 is for ever.
	Grace, Deadline time.Duration
	// Newer is true when another version has been announced since.
	Newer bool
	// Applied is how many instances run the version, and Blocking which instances
	// and services do not, as [Blocking] returns them.
	Applied  int
	Blocking []events.Blocker
	// Fresh is true when the reports were read from their start a short while
	// ago. Reports that were only followed since may name an instance whose end
	// was missed.
	Fresh bool
}

// unclaimed reports whether the secret has no subscriber and no user.
func (f Facts) unclaimed() bool {
	return len(f.Blocking) == 1 && f.Blocking[0].Reason == events.BlockNoSubscriber
}

// ActionKind says what has to be done.
type ActionKind string

// What [Advance] asks for.
const (
	// ActionPublish: publish the state that Advance returned.
	ActionPublish ActionKind = "publish"
	// ActionArmRetire: order the retirement of the previous version for Action.At.
	ActionArmRetire ActionKind = "arm_retire"
	// ActionDisarmRetire: take the order of ActionArmRetire back.
	ActionDisarmRetire ActionKind = "disarm_retire"
	// ActionRefresh: read the reports from their start.
	ActionRefresh ActionKind = "refresh"
)

// Reason says why a rollout moves, in one word for logs and metrics.
type Reason string

// Why something is done.
const (
	// ReasonAnnounced: the version was announced.
	ReasonAnnounced Reason = "announced"
	// ReasonApplied: every live instance of every subscriber runs the version.
	ReasonApplied Reason = "applied_everywhere"
	// ReasonFellBack: an instance that does not run the version appeared after
	// convergence.
	ReasonFellBack Reason = "fell_back"
	// ReasonDeadline: the deadline passed before convergence.
	ReasonDeadline Reason = "deadline_passed"
	// ReasonNoDeadline: the secret no longer has a deadline.
	ReasonNoDeadline Reason = "deadline_removed"
	// ReasonNewer: another version was announced.
	ReasonNewer Reason = "newer_version"
	// ReasonGrace: the previous version may go once the grace period is over.
	ReasonGrace Reason = "grace_period"
	// ReasonOverdue: it should have gone long ago.
	ReasonOverdue Reason = "retirement_overdue"
	// ReasonNotFresh: a stall is declared on fresh reports only.
	ReasonNotFresh Reason = "reports_not_fresh"
)

// Action is one thing to be done.
type Action struct {
	Kind   ActionKind
	Reason Reason
	// At is set with ActionArmRetire.
	At time.Time
}

// Advance returns what becomes of r and what has to be done for that, in that
// order. The returned rollout is in force once all actions have been done; after
// a failure the caller asks again. No action means that nothing changes before
// [Rollout.Wake].
func Advance(now time.Time, r Rollout, f Facts) (Rollout, []Action) {
	switch {
	case r.Ended():
		return r, nil
	case f.Newer:
		return r.supersede(now)
	case !f.Configured:
		return r, nil
	}
	switch r.State {
	case "":
		return r.move(now, events.RolloutRolling, ReasonAnnounced)
	case events.RolloutRolling:
		return r.rolling(now, f)
	case events.RolloutStalled:
		return r.stalled(now, f)
	case events.RolloutConverged:
		return r.converged(now, f)
	default: // of a later version of this program
		return r, nil
	}
}

func (r Rollout) move(now time.Time, to events.RolloutState, why Reason) (Rollout, []Action) {
	r.State, r.Since = to, now
	return r, []Action{{Kind: ActionPublish, Reason: why}}
}

// supersede ends r. A rollout that was never published ends without an event.
func (r Rollout) supersede(now time.Time) (Rollout, []Action) {
	unheard := r.State == ""
	r.RetireAt, r.Reminder = time.Time{}, time.Time{}
	r, publish := r.move(now, events.RolloutSuperseded, ReasonNewer)
	if unheard {
		return r, nil
	}
	return r, publish
}

func (r Rollout) rolling(now time.Time, f Facts) (Rollout, []Action) {
	switch {
	case len(f.Blocking) == 0 && !now.Before(r.heldUntil()):
		return r.converge(now, f)
	case len(f.Blocking) == 0 || !r.overdue(now, f):
		return r, nil
	case !f.Fresh:
		return r, []Action{{Kind: ActionRefresh, Reason: ReasonNotFresh}}
	default:
		return r.move(now, events.RolloutStalled, ReasonDeadline)
	}
}

// heldUntil returns the earliest time at which a rolling r may converge, zero
// for any: one that fell back is held for a while.
func (r Rollout) heldUntil() time.Time {
	if r.ConvergedAt.IsZero() {
		return time.Time{}
	}
	return r.Since.Add(HoldOff)
}

// overdue reports whether a blocked rollout has passed its deadline. A first
// version without a subscriber keeps nothing waiting.
func (r Rollout) overdue(now time.Time, f Facts) bool {
	return f.Deadline > 0 && !now.Before(r.Since.Add(f.Deadline)) && (r.PreviousVersionID != "" || !f.unclaimed())
}

func (r Rollout) stalled(now time.Time, f Facts) (Rollout, []Action) {
	switch {
	case len(f.Blocking) == 0:
		return r.converge(now, f)
	case f.Deadline == 0:
		return r.move(now, events.RolloutRolling, ReasonNoDeadline)
	case !f.Fresh:
		return r, []Action{{Kind: ActionRefresh, Reason: ReasonNotFresh}}
	default:
		return r, nil
	}
}

func (r Rollout) converge(now time.Time, f Facts) (Rollout, []Action) {
	r, do := r.move(now, events.RolloutConverged, ReasonApplied)
	r.ConvergedAt = now
	if r.Ended() {
		return r, do
	}
	r.RetireAt = now.Add(f.Grace)
	r, arm := r.remind(now, ReasonGrace)
	return r, append(do, arm...)
}

// remind orders the retirement. The time is RetireAt even when that has passed,
// so that every notifier arms the same timer.
func (r Rollout) remind(now time.Time, why Reason) (Rollout, []Action) {
	r.Reminder = later(now, r.RetireAt).Add(RetireReminder)
	return r, []Action{{Kind: ActionArmRetire, Reason: why, At: r.RetireAt}}
}

func (r Rollout) converged(now time.Time, f Facts) (Rollout, []Action) {
	switch {
	case len(f.Blocking) > 0:
		r.RetireAt, r.Reminder = time.Time{}, time.Time{}
		r, do := r.move(now, events.RolloutRolling, ReasonFellBack)
		return r, append(do, Action{Kind: ActionDisarmRetire, Reason: ReasonFellBack})
	case r.Reminder.IsZero():
		return r.remind(now, ReasonGrace)
	case !now.Before(r.Reminder):
		return r.remind(now, ReasonOverdue)
	default:
		return r, nil
	}
}

// Wake returns when [Advance] has to be asked again without any event; the zero
// Time means never.
func (r Rollout) Wake(now time.Time, f Facts) time.Time {
	if r.Ended() {
		return time.Time{}
	}
	at := now.Add(Recheck)
	for _, t := range []time.Time{r.heldUntil(), r.Since.Add(f.Deadline), r.Reminder} {
		if t.After(now) && t.Before(at) {
			at = t
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
