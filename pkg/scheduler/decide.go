package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Reason says in one constant word why a [Decision] is what it is.
type Reason string

// The reasons.
const (
	// ReasonScheduled: the rotation lies ahead.
	ReasonScheduled Reason = "scheduled"
	// ReasonNearExpiry: the version is within its margin.
	ReasonNearExpiry Reason = "near_expiry"
	// ReasonExpired: the version is past its end.
	ReasonExpired Reason = "expired"
	// ReasonWaitingForWindow: it is due and waits for a rotation window.
	ReasonWaitingForWindow Reason = "waiting_for_window"
	// ReasonNoWindow: no window opens in the life of the version; it is
	// scheduled as if there were none.
	ReasonNoWindow Reason = "no_window"
	// ReasonRetrying: a rotation failed and a timer for the next try is armed.
	ReasonRetrying Reason = "retrying"
	// ReasonQuarantined: the target refused every value; a person has to act.
	ReasonQuarantined Reason = "quarantined"
	// ReasonRunning: the store's own rotation of the secret has begun.
	ReasonRunning Reason = "running"
	// ReasonMissing: the store has no version yet and may be given one.
	ReasonMissing Reason = "missing"
	// ReasonNotFound: the store does not know the secret.
	ReasonNotFound Reason = "not_found"
	// ReasonDeleted: the secret, or its current version, was deleted in the store.
	// Nothing is written until an operator restores it or writes a version.
	ReasonDeleted Reason = "deleted"
	// ReasonNoLifetime: neither the configuration nor the store sets a TTL.
	ReasonNoLifetime Reason = "no_lifetime"
	// ReasonDisabled: scheduled rotation is switched off.
	ReasonDisabled Reason = "disabled"
	// ReasonPaused: a person has scheduled rotation wait.
	ReasonPaused Reason = "paused"
	// ReasonFrozen: it is due, and a freeze of the configuration has it wait.
	ReasonFrozen Reason = "frozen"
	// ReasonRemoved: the configuration listed the secret once, and does so no longer.
	ReasonRemoved Reason = "removed"
	// ReasonInvalid: the tags of a discovered secret cannot be carried out.
	ReasonInvalid Reason = "invalid_tags"
	// ReasonCollision: another secret has the id of a discovered one.
	ReasonCollision Reason = "collision"
)

// reasons are all of them; a test holds the list against the constants.
var reasons = []Reason{
	ReasonScheduled, ReasonNearExpiry, ReasonExpired, ReasonWaitingForWindow, ReasonNoWindow, ReasonRetrying, ReasonQuarantined,
	ReasonRunning, ReasonMissing, ReasonNotFound, ReasonDeleted, ReasonNoLifetime, ReasonDisabled, ReasonPaused, ReasonFrozen, ReasonRemoved, ReasonInvalid, ReasonCollision,
}

// Decision is what has to happen to one secret.
type Decision struct {
	// Arm is whether a timer has to be armed, for At; false leaves the bus as
	// it is, except that a timer is removed where Disarm says so.
	Arm    bool
	Disarm bool
	At     time.Time
	// Reason and Message say why, for machines and for people.
	Reason  Reason
	Message string
	// Freeze is what has the rotation wait, or will when it is due; nil for none. At is
	// after it.
	Freeze *secret.Freeze
	// Failure is why the last try failed, for ReasonRetrying and
	// ReasonQuarantined; nil when the bus does not say.
	Failure *events.Failure
}

// Facts are what a decision depends on besides the spec.
type Facts struct {
	// Known is whether the store knows the secret, Meta what it knows.
	Known bool
	Meta  secret.Metadata
	// Deleted says what the store tells of a secret that is not known since it was
	// deleted there; "" for any other.
	Deleted string
	// Timer is what is armed on the bus, zero for nothing.
	Timer events.Timer
	// Failed is the last failure announced for the secret, zero for none.
	Failed events.Data
	// Pause is the last pause of the secret, zero for none.
	Pause events.Pause
}

// Evaluate decides what has to happen to a secret, seen from now.
func Evaluate(now time.Time, s secret.Spec, f Facts) Decision {
	cur := f.Meta.Current()
	switch {
	case cur.ID != "" && f.asked(cur.ID):
		return f.retrying(now)
	case s.Disabled:
		return Decision{Disarm: true, Reason: ReasonDisabled, Message: "scheduled rotation is switched off"}
	case cur.ID == "" && (f.Deleted != "" || f.Meta.Deleted != ""):
		return Decision{Disarm: true, Reason: ReasonDeleted, Message: cmp.Or(f.Deleted, f.Meta.Deleted)}
	case cur.ID == "" && s.Create:
		return f.unless(now, Decision{Arm: true, At: now, Reason: ReasonMissing, Message: "the store has no version yet"})
	case cur.ID == "" && f.Known:
		return Decision{Reason: ReasonNotFound, Message: fmt.Sprintf("the secret %s of the store %s has no version yet; write one there, or set create: true", s.StorePath(), s.Store)}
	case cur.ID == "":
		return Decision{Reason: ReasonNotFound, Message: fmt.Sprintf("the store %s has no secret %s; create it there, or set create: true", s.Store, s.StorePath())}
	}
	if _, begun := f.Meta.At(secret.StagePending); begun && s.Strategy == secret.StrategyExternal {
		return f.unless(now, Decision{Arm: true, At: now, Reason: ReasonRunning, Message: "the store has it rotated, which is followed"})
	}
	end := s.NotAfter(f.Meta, cur)
	if end.IsZero() {
		return Decision{Disarm: true, Reason: ReasonNoLifetime, Message: "no TTL is set here or in the store; it is rotated by hand only"}
	}
	d := due(now, s, f.Meta, end)
	if f.Pause.Paused {
		// The timer stays: the worker rotates nothing at it.
		d.Reason, d.Message = ReasonPaused, f.Pause.String()
		if !now.Before(d.At) {
			d.Arm = f.Timer.Seq == 0
		}
		return d
	}
	if d = freeze(now, s, f.Meta, d); d.Reason == ReasonFrozen {
		d.Arm = f.Timer.Seq == 0 // else the worker moves it
		return d
	}
	return f.unless(now, d)
}

// freeze returns the decision about a rotation that d has due, given the freezes: a
// rotation that is due in one waits until it is over.
func freeze(now time.Time, s secret.Spec, m secret.Metadata, d Decision) Decision {
	due := d.At
	if due.Before(now) {
		due = now
	}
	at, held := s.Start(m, due)
	if held == nil {
		return d
	}
	text := fmt.Sprintf("a freeze (%s) until %s", held.Reason, at.UTC().Format(time.RFC3339))
	if d.Freeze = held; now.Before(d.At) {
		d.Message = fmt.Sprintf("in %s, after %s", about(at.Sub(now)), text)
	} else {
		d.Reason, d.Message = ReasonFrozen, fmt.Sprintf("%s: %s", text, d.Message)
	}
	d.At = at
	return d
}

// due says when the current version is to be rotated.
func due(now time.Time, s secret.Spec, m secret.Metadata, end time.Time) Decision {
	at, err := s.DueAt(m, now)
	d := Decision{Arm: true, At: at}
	switch {
	case !now.Before(end):
		d.Reason, d.Message = ReasonExpired, fmt.Sprintf("the version ended %s ago", about(now.Sub(end)))
	case errors.Is(err, secret.ErrNoWindow):
		d.Reason, d.Message = ReasonNoWindow, err.Error()+"; widen the windows or lengthen the TTL"
	case !now.Before(at):
		d.Reason, d.Message = ReasonNearExpiry, fmt.Sprintf("the version ends in %s", about(end.Sub(now)))
	case !now.Before(end.Add(-s.Margin())):
		d.Reason, d.Message = ReasonWaitingForWindow, fmt.Sprintf("due, and the next window opens in %s", about(at.Sub(now)))
	default:
		d.Reason, d.Message = ReasonScheduled, "in "+about(at.Sub(now))
	}
	return d
}

// unless returns d, except where a rotation that failed is waiting for its next
// try or for a person: then the timer is left alone.
func (f Facts) unless(now time.Time, d Decision) Decision {
	cur := f.Meta.Current().ID
	t := f.Timer.Event.Data
	if failure := f.Failed.Failure; failure != nil && waitsForOperator(failure.Code) && f.Failed.VersionID == cur {
		return Decision{Reason: ReasonQuarantined, Message: failure.Message, Failure: failure}
	}
	if f.Timer.Seq != 0 && t.VersionID == cur && t.Attempt > 0 && f.Timer.At.After(now) {
		return f.retrying(now)
	}
	return d
}

// asked reports whether the timer holds the next try of a rotation away from a version
// that was asked for. It is left alone: a sweep would not bring it back.
func (f Facts) asked(v secret.VersionID) bool {
	t := f.Timer.Event.Data
	return f.Timer.Seq != 0 && t.Reason.Asked() && t.VersionID == v
}

func (f Facts) retrying(now time.Time) Decision {
	t := f.Timer.Event.Data
	msg := fmt.Sprintf("try %d in %s", t.Attempt+1, about(max(0, f.Timer.At.Sub(now))))
	return Decision{Reason: ReasonRetrying, Message: msg, Failure: t.Failure}
}

// waitsForOperator reports whether a rotation that failed with this code is not
// tried again until an operator asks for it.
func waitsForOperator(code events.FailureCode) bool {
	return code == events.CodeQuarantined || code == events.CodeStuck
}

// about writes a time to come or gone by as exactly as a person wants to know.
func about(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		d = d.Round(time.Hour)
	case d >= time.Hour:
		d = d.Round(time.Minute)
	default:
		d = d.Round(time.Second)
	}
	return secret.FormatDuration(d)
}
