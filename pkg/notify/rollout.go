package notify

import (
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Rollout is one promoted version on its way to every instance.
type Rollout struct {
	// Event is the announcement that began it.
	Event events.Data
	// State is where it is, Since when it came there.
	State events.RolloutState
	Since time.Time
	// StartedAt is when the version was announced.
	StartedAt time.Time
	// ConvergedAt and RetireAt are set once it has converged.
	ConvergedAt, RetireAt time.Time
	// Applied is how many instances run the version, Blocking who does not.
	Applied  int
	Blocking []events.Blocker
}

// Facts are what a rollout depends on.
type Facts struct {
	// Applied and Blocking are what events.Blocking finds.
	Applied  int
	Blocking []events.Blocker
	// Grace and Deadline are the secret's; a Deadline of 0 is never.
	Grace, Deadline time.Duration
}

// Reason says why a rollout moved.
type Reason string

// The reasons.
const (
	// ReasonNone: it did not move.
	ReasonNone Reason = ""
	// ReasonAllApplied: every live instance of every subscriber runs the version.
	ReasonAllApplied Reason = "all_applied"
	// ReasonDeadline: the deadline passed and somebody does not.
	ReasonDeadline Reason = "deadline"
	// ReasonRegressed: somebody appeared who does not, before the version before
	// was retired.
	ReasonRegressed Reason = "regressed"
	// ReasonReplaced: a newer version was announced.
	ReasonReplaced Reason = "replaced"
)

// Advance returns the rollout as it stands at now, and why it moved. A rollout
// never converges on silence: facts without anyone who runs the version hold a
// blocker.
func Advance(now time.Time, r Rollout, f Facts) (Rollout, Reason) {
	r.Applied, r.Blocking = f.Applied, f.Blocking
	open := r.State == events.RolloutRolling || r.State == events.RolloutStalled
	switch {
	case open && len(f.Blocking) == 0:
		r.ConvergedAt, r.RetireAt = now, now.Add(f.Grace)
		return r.enter(events.RolloutConverged, now), ReasonAllApplied
	case r.State == events.RolloutRolling && f.Deadline > 0 && !now.Before(r.Since.Add(f.Deadline)):
		return r.enter(events.RolloutStalled, now), ReasonDeadline
	case r.State == events.RolloutConverged && len(f.Blocking) > 0:
		r.ConvergedAt, r.RetireAt = time.Time{}, time.Time{}
		return r.enter(events.RolloutRolling, now), ReasonRegressed
	default:
		return r, ReasonNone
	}
}

// Replace returns the rollout after a newer version was announced.
func Replace(now time.Time, r Rollout) (Rollout, Reason) {
	switch r.State {
	case events.RolloutRolling, events.RolloutStalled:
		return r.enter(events.RolloutSuperseded, now), ReasonReplaced
	default:
		return r, ReasonNone
	}
}

func (r Rollout) enter(s events.RolloutState, now time.Time) Rollout {
	r.State, r.Since = s, now
	return r
}

// begin returns the rollout of an announcement.
func begin(e events.Event) Rollout {
	return Rollout{Event: e.Data, State: events.RolloutRolling, Since: e.Time, StartedAt: e.Time}
}

// adopt returns the rollout as an event on the bus describes it.
func (r Rollout) adopt(e events.Event) Rollout {
	ro := e.Data.Rollout
	r.State, r.Since = ro.State, e.Time
	r.StartedAt, r.ConvergedAt, r.RetireAt = ro.StartedAt, ro.ConvergedAt, ro.RetireAt
	r.Applied, r.Blocking = ro.Applied, ro.Blocking
	return r
}

// data returns the body of an event about the rollout.
func (r Rollout) data(now time.Time) events.Data {
	d := r.Event
	d.OccurredAt, d.Attempt, d.Failure = now, 0, nil
	d.Rollout = &events.Rollout{
		State: r.State, StartedAt: r.StartedAt, ConvergedAt: r.ConvergedAt, RetireAt: r.RetireAt,
		Applied: r.Applied, Blocking: r.Blocking[:min(len(r.Blocking), events.MaxBlocking)], BlockingTotal: len(r.Blocking),
	}
	return d
}

// retire returns the event that asks for the retirement of what came before. It
// is the same whoever makes it.
func (r Rollout) retire(source string) events.Event {
	id := secret.NewToken(r.Event.SecretID, r.Event.VersionID, string(events.TypeRetire), 0)
	return events.Event{ID: string(id), Type: events.TypeRetire, Source: source, Time: r.ConvergedAt, Data: r.data(r.ConvergedAt)}
}
