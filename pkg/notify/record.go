package notify

import (
	"encoding/json"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// maxDetail bounds what an instance may say about a failure in an event, and
	// maxListed what all blockers take there, in bytes: services write these
	// words, and an event that is too large could not be published at all.
	maxDetail = 200
	maxListed = 8 << 10
)

// data returns the body of an event about r that happened at the given time.
func (r Rollout) data(at time.Time, f Facts) events.Data {
	return events.Data{
		SecretID: r.SecretID, Store: r.Store, VersionID: r.VersionID, PreviousVersionID: r.PreviousVersionID,
		Reason: r.Cause, RotationID: r.RotationID, OccurredAt: at,
		Rollout: &events.Rollout{
			State: r.State, StartedAt: r.StartedAt, ConvergedAt: r.ConvergedAt, RetireAt: r.RetireAt,
			Applied: f.Applied, Blocking: listed(f.Blocking), BlockingTotal: len(f.Blocking),
		},
	}
}

// changed returns the event that says that r is in its state.
func (r Rollout) changed(source string, f Facts) events.Event {
	return events.RolloutChanged(source, r.data(r.Since, f))
}

// retire returns the event that asks a worker to retire what was before r. Its
// ID depends on the secret and the version only, so that whoever asks for a
// retirement asks for the same one.
func (r Rollout) retire(source string, f Facts) events.Event {
	return events.Event{
		ID:   string(secret.NewToken(r.SecretID, r.VersionID, string(events.TypeRetire), 0)),
		Type: events.TypeRetire, Source: source, Time: r.ConvergedAt, Data: r.data(r.ConvergedAt, f),
	}
}

// listed returns as many blockers as an event has room for.
func listed(all []events.Blocker) []events.Blocker {
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
