package rollout

import (
	"encoding/json"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// maxDetail bounds what an event repeats of an instance's reason, and maxListed
	// all blockers of an event, in bytes: services write these texts, and an event
	// that is too large cannot be published.
	maxDetail = 200
	maxListed = 8 << 10
)

// data returns the body of an event about r that happened at the given time.
func (r Rollout) data(at time.Time, f Facts) events.Data {
	blocking := f.Blocking
	if len(blocking) == 0 {
		blocking = f.Accepting
	}
	return events.Data{
		SecretID: r.SecretID, Store: r.Store, VersionID: r.VersionID, PreviousVersionID: r.PreviousVersionID,
		Reason: r.Cause, RotationID: r.RotationID, OccurredAt: at,
		Rollout: &events.Rollout{
			State: r.State, StartedAt: r.StartedAt, ConvergedAt: r.ConvergedAt, RetireAt: r.RetireAt, BehindSince: r.BehindSince, Suspended: r.Suspended,
			Applied: f.Applied, Blocking: Listed(blocking), BlockingTotal: len(blocking),
		},
	}
}

// Event returns the secret.rollout event that says that r is in its state.
func (r Rollout) Event(source string, f Facts) events.Event {
	return rolloutEvent(source, r.data(r.Since, f))
}

// Order returns the event that asks a worker to retire what was before r. Its ID
// depends on the secret and the version only, so that every notifier asks for
// the same retirement.
func (r Rollout) Order(source string, f Facts) events.Event {
	return events.Event{
		ID:   string(secret.NewToken(r.SecretID, r.VersionID, string(events.TypeRetire), 0)),
		Type: events.TypeRetire, Source: source, Time: r.ConvergedAt, Data: r.data(r.ConvergedAt, f),
	}
}

// Retired returns the secret.rollout event that says that the order was carried
// out at the given time, while so many instances ran the new version.
func Retired(source string, at time.Time, order events.Data, applied int) events.Event {
	d := order
	d.OccurredAt, d.Retry = at, events.Retry{}
	var ro events.Rollout
	if order.Rollout != nil {
		ro = *order.Rollout
	}
	ro.State, ro.Suspended, ro.Applied, ro.Blocking, ro.BlockingTotal = events.RolloutRetired, false, applied, nil, 0
	d.Rollout = &ro
	return rolloutEvent(source, d)
}

// rolloutEvent returns the event that says that a rollout is in the state of
// d.Rollout since d.OccurredAt.
func rolloutEvent(source string, d events.Data) events.Event {
	salt := string(events.TypeRollout) + " " + string(d.Rollout.State) + " " + d.OccurredAt.UTC().Format(time.RFC3339Nano)
	return events.Event{
		ID:   string(secret.NewToken(d.SecretID, d.VersionID, salt, 0)),
		Type: events.TypeRollout, Source: source, Time: d.OccurredAt, Data: d,
	}
}

// Listed returns as many blockers as an event has room for, with their details
// clipped.
func Listed(all []events.Blocker) []events.Blocker {
	var out []events.Blocker
	room := maxListed
	for _, b := range all[:min(len(all), events.MaxBlocking)] {
		b.Detail = events.Clip(b.Detail, maxDetail)
		text, err := json.Marshal(b)
		if room -= len(text); err != nil || room < 0 {
			break
		}
		out = append(out, b)
	}
	return out
}
