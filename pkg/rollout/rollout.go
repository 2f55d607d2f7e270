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
	// BehindSince is since when instances have been behind, over the rollouts that were
	// superseded before every instance ran their version. Zero means since Since. A
	// secret that rotates more often than its deadline stalls by it.
	BehindSince time.Time
	// ConvergedAt is when every instance was last found to run the version,
	// and stays set when that turns out not to hold.
	ConvergedAt time.Time
	// RetireAt is when the rollout begins to drain: grace, lease and floor are over.
	// It is zero before convergence, after a fall back, and when there is no previous
	// version. A stalled rollout that has it stalled while it drained.
	RetireAt time.Time
	// Suspended says that the versions before are suspended at the target, or are about
	// to be. A worker says so, and ends it.
	Suspended bool
	// Reminder is when services are told again to drain, or the retirement is ordered
	// again. Zero means that this process has not asked yet. It is not published, and
	// neither is Ordered: whether the retirement was ordered. Overdue is true when it was
	// ordered again, and should have been carried out long ago: people have to look.
	Reminder time.Time
	Ordered  bool
	Overdue  bool
}

const (
	// HoldOff is how long a rollout that fell back stays rolling at least. It
	// keeps two notifiers whose configurations differ for a while from moving it
	// back and forth as fast as they can publish.
	HoldOff = 10 * time.Second
	// RetireReminder is how long after RetireAt the retirement is ordered again:
	// longer than a worker's longest pause between two tries.
	RetireReminder = 30 * time.Minute
	// DrainReminder is how long after services were told to drain they are told
	// again: what they missed is not sent by itself.
	DrainReminder = time.Minute
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

// After returns the rollout of the version that d announces, which follows r.
func (r Rollout) After(d events.Data) Rollout {
	next := Begin(d)
	next.BehindSince = r.BehindSince
	return next
}

// Resume returns the rollout that a [events.TypeRollout] event describes.
func Resume(d events.Data) Rollout {
	r := Begin(d)
	r.State, r.Since = d.Rollout.State, d.OccurredAt
	r.StartedAt, r.ConvergedAt, r.RetireAt = d.Rollout.StartedAt, d.Rollout.ConvergedAt, d.Rollout.RetireAt
	r.BehindSince, r.Suspended = d.Rollout.BehindSince, d.Rollout.Suspended
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
	// all; Deadline is how long a rollout may take, 0 is for ever. Soak is how long the
	// previous version is suspended before it is revoked.
	Grace, Deadline, Soak time.Duration
	// Newer is true when another version has been announced since.
	Newer bool
	// Lease is the longest lease of an instance, and Floor the time before which
	// nothing is retired. An emergency skips grace, lease and floor.
	Lease time.Duration
	Floor time.Time
	// Applied is how many instances run the version, and Blocking which instances
	// and services do not. Accepting are the instances that run it and accept another
	// one besides.
	Applied   int
	Blocking  []events.Blocker
	Accepting []events.Blocker
	// Fresh is true when the reports were read from their start a short while
	// ago. Reports that were only followed since may name an instance whose end
	// was missed.
	Fresh bool
}

// With returns f with what a fleet says.
func (f Facts) With(s Standing) Facts {
	f.Applied, f.Blocking, f.Accepting, f.Lease, f.Floor = s.Applied, s.Blocking, s.Accepting, s.Lease, s.Floor
	return f
}

// waits reports whether all that blocks is quiet.
func (f Facts) waits() bool {
	for _, b := range f.Blocking {
		if !quiet(b) {
			return false
		}
	}
	return len(f.Blocking) > 0
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
	// ActionNotifyDraining: tell the services to accept no version but the new one,
	// with the event of the state that Advance returned.
	ActionNotifyDraining ActionKind = "notify_draining"
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
	// ReasonFences: nothing blocks but what never pages: fences and runs of silent
	// instances, consumers to confirm, a secret without a subscriber.
	ReasonFences Reason = "within_fence"
	// ReasonBlocked: something else blocks as well.
	ReasonBlocked Reason = "blocked"
	// ReasonGraceOver: grace period, lease and floor are over.
	ReasonGraceOver Reason = "grace_over"
	// ReasonAccepted: an instance accepts a version that is to be retired.
	ReasonAccepted Reason = "old_version_accepted"
	// ReasonDrained: no instance uses or accepts what was before.
	ReasonDrained Reason = "drained"
	// ReasonDeadline: the deadline passed before convergence or drain.
	ReasonDeadline Reason = "deadline_passed"
	// ReasonNoDeadline: the secret no longer has a deadline.
	ReasonNoDeadline Reason = "deadline_removed"
	// ReasonNewer: another version was announced.
	ReasonNewer Reason = "newer_version"
	// ReasonOverdue: it should have gone long ago.
	ReasonOverdue Reason = "retirement_overdue"
	// ReasonSuspended: the versions before are suspended, and may be in use.
	ReasonSuspended Reason = "suspended"
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
		return r.supersede(now, f)
	case !f.Configured:
		return r, nil
	case r.comesBack(f) && !now.Before(r.Reminder):
		return r.resume(now)
	}
	switch r.State {
	case "":
		return r.move(now, events.RolloutRolling, ReasonAnnounced)
	case events.RolloutRolling, events.RolloutWaiting:
		return r.rolling(now, f)
	case events.RolloutDraining:
		return r.draining(now, f)
	case events.RolloutStalled:
		return r.stalled(now, f)
	case events.RolloutConverged:
		return r.converged(now, f)
	default: // of a later version of this program
		return r, nil
	}
}

func (r Rollout) move(now time.Time, to events.RolloutState, why Reason) (Rollout, []Action) {
	switch to {
	case events.RolloutRolling, events.RolloutSuperseded:
	case events.RolloutStalled:
		r.BehindSince = r.behindSince()
	default:
		r.BehindSince = time.Time{}
	}
	r.State, r.Since, r.Reminder, r.Ordered, r.Overdue = to, now, time.Time{}, false, false
	return r, []Action{{Kind: ActionPublish, Reason: why}}
}

// behindSince returns since when instances have been behind if some are now.
func (r Rollout) behindSince() time.Time {
	if r.BehindSince.IsZero() {
		return r.Since
	}
	return r.BehindSince
}

// supersede ends r. A rollout that was never published ends without an event. The next
// one counts its deadline from when instances fell behind.
func (r Rollout) supersede(now time.Time, f Facts) (Rollout, []Action) {
	unheard := r.State == ""
	switch {
	case unheard:
	case r.State == events.RolloutRolling && f.Deadline > 0 && len(f.Blocking) > 0 && !f.waits():
		r.BehindSince = r.behindSince()
	case r.State != events.RolloutStalled || len(f.Blocking) == 0:
		r.BehindSince = time.Time{}
	}
	r.RetireAt = time.Time{}
	r, publish := r.move(now, events.RolloutSuperseded, ReasonNewer)
	if unheard {
		return r, nil
	}
	return r, publish
}

// rolling decides for a rollout that rolls or waits.
func (r Rollout) rolling(now time.Time, f Facts) (Rollout, []Action) {
	waits := r.State == events.RolloutWaiting
	switch {
	case len(f.Blocking) == 0 && !now.Before(r.heldUntil()):
		return r.converge(now, f)
	case f.waits() && !waits:
		return r.move(now, events.RolloutWaiting, ReasonFences)
	case len(f.Blocking) > 0 && !f.waits() && waits:
		return r.move(now, events.RolloutRolling, ReasonBlocked)
	case waits || len(f.Blocking) == 0 || !r.overdue(now, f):
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

// overdue reports whether a blocked rollout has passed its deadline.
func (r Rollout) overdue(now time.Time, f Facts) bool {
	return f.Deadline > 0 && !now.Before(r.behindSince().Add(f.Deadline))
}

func (r Rollout) stalled(now time.Time, f Facts) (Rollout, []Action) {
	drains := !r.RetireAt.IsZero()
	switch {
	case drains && len(f.Blocking) > 0:
		return r.fallBack(now)
	case drains && len(f.Accepting) == 0:
		return r.move(now, events.RolloutDraining, ReasonDrained)
	case !drains && len(f.Blocking) == 0:
		return r.converge(now, f)
	case f.waits():
		return r.move(now, events.RolloutWaiting, ReasonFences)
	case f.Deadline == 0 && drains:
		return r.move(now, events.RolloutDraining, ReasonNoDeadline)
	case f.Deadline == 0:
		return r.move(now, events.RolloutRolling, ReasonNoDeadline)
	case !f.Fresh:
		return r, []Action{{Kind: ActionRefresh, Reason: ReasonNotFresh}}
	default:
		return r, nil
	}
}

// converge sets the time of the retirement: grace and lease count from the last
// convergence, the floor from the promotion. An emergency waits for none of them.
func (r Rollout) converge(now time.Time, f Facts) (Rollout, []Action) {
	r, do := r.move(now, events.RolloutConverged, ReasonApplied)
	r.ConvergedAt = now
	if r.Ended() {
		return r, do
	}
	r.RetireAt = r.retireAt(f)
	return r, do
}

// retireAt returns when a rollout drains that has converged at Since.
func (r Rollout) retireAt(f Facts) time.Time {
	if r.Cause == events.ReasonEmergency {
		return r.Since
	}
	return later(r.Since.Add(max(f.Grace, f.Lease)), f.Floor)
}

func (r Rollout) converged(now time.Time, f Facts) (Rollout, []Action) {
	switch {
	case len(f.Blocking) > 0:
		return r.fallBack(now)
	case r.RetireAt.IsZero() || now.Before(r.RetireAt) && now.Before(r.retireAt(f)):
		return r, nil
	default: // the user that put it off may have ended since
		r.RetireAt = earlier(r.RetireAt, r.retireAt(f))
		r, do := r.move(now, events.RolloutDraining, ReasonGraceOver)
		r.Reminder = now.Add(DrainReminder)
		return r, append(do, Action{Kind: ActionNotifyDraining, Reason: ReasonGraceOver})
	}
}

// fallBack takes back that every instance runs the version, and the order to
// retire with it.
func (r Rollout) fallBack(now time.Time) (Rollout, []Action) {
	r.RetireAt = time.Time{}
	r, do := r.move(now, events.RolloutRolling, ReasonFellBack)
	if r.Suspended {
		return r, do // resume orders the retirement, which disarms it as well
	}
	return r, append(do, Action{Kind: ActionDisarmRetire, Reason: ReasonFellBack})
}

// draining orders the retirement once no instance accepts what was before.
func (r Rollout) draining(now time.Time, f Facts) (Rollout, []Action) {
	late := f.Deadline > 0 && !now.Before(r.Since.Add(f.Deadline))
	switch {
	case len(f.Blocking) > 0:
		return r.fallBack(now)
	case len(f.Accepting) == 0:
		return r.order(now, f)
	case r.Ordered && !r.Suspended:
		r.Ordered, r.Overdue, r.Reminder = false, false, now.Add(DrainReminder)
		return r, []Action{{Kind: ActionDisarmRetire, Reason: ReasonAccepted}, {Kind: ActionNotifyDraining, Reason: ReasonAccepted}}
	case late && f.Fresh:
		return r.move(now, events.RolloutStalled, ReasonDeadline)
	case late:
		return r, []Action{{Kind: ActionRefresh, Reason: ReasonNotFresh}}
	case !now.Before(r.Reminder):
		r.Reminder = now.Add(DrainReminder)
		return r, []Action{{Kind: ActionNotifyDraining, Reason: ReasonAccepted}}
	default:
		return r, nil
	}
}

// order orders the retirement, and again when nothing has come of that for long.
// The time is RetireAt even though that has passed, so that every notifier arms the
// same timer. A worker may wait for the grace period at the target and suspend for the
// soak; after these and the deadline the retirement is overdue. The state stays draining,
// which the worker needs.
func (r Rollout) order(now time.Time, f Facts) (Rollout, []Action) {
	why := ReasonDrained
	switch {
	case r.Ordered && now.Before(r.Reminder):
		return r, nil
	case r.Ordered:
		why = ReasonOverdue
		r.Overdue = f.Deadline > 0 && !now.Before(r.Since.Add(f.Deadline+f.Grace+f.Soak+RetireReminder))
	}
	r.Ordered, r.Reminder = true, now.Add(RetireReminder)
	return r, []Action{{Kind: ActionArmRetire, Reason: why, At: r.RetireAt}}
}
