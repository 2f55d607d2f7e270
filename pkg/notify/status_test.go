package notify

import (
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// status is a rollout as the notifier sees it.
type status struct {
	SecretID          secret.ID
	VersionID         secret.VersionID
	PreviousVersionID secret.VersionID
	// State is where the version is and Since when it got there.
	State events.RolloutState
	Since time.Time
	// StartedAt is when the version was announced; RetireAt when the previous
	// one may be retired, zero while that is not known.
	StartedAt, RetireAt time.Time
	// Applied is how many instances run the version now. Blockers are those
	// that do not, at most [events.MaxBlocking] of BlockersTotal.
	Applied       int
	Blockers      []events.Blocker
	BlockersTotal int
}

// snapshot returns the rollout of every secret. It holds the lock for one secret
// at a time, so that the watches go on.
func (t *tracker) snapshot() []status {
	t.mu.Lock()
	ids := make([]secret.ID, 0, len(t.secrets))
	for id := range t.secrets {
		ids = append(ids, id)
	}
	t.mu.Unlock()
	slices.Sort(ids)
	out := make([]status, len(ids))
	for i, id := range ids {
		out[i] = t.status(id)
	}
	return out
}

func (t *tracker) status(id secret.ID) status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.secrets[id].rollout
	spec, _ := t.spec(id)
	standing := rollout.Question{Spec: spec, VersionID: r.VersionID, Promoted: r.StartedAt, Confirmed: t.confirmed[id]}.Ask(t.fleet.of(id, time.Now()))
	blocking, applied := standing.Blocking, standing.Applied
	s := status{
		SecretID: id, VersionID: r.VersionID, PreviousVersionID: r.PreviousVersionID, State: shown(r), Since: r.Since,
		StartedAt: r.StartedAt, RetireAt: r.RetireAt, Applied: applied, Blockers: rollout.Listed(blocking), BlockersTotal: len(blocking),
	}
	if s.Since.IsZero() {
		s.Since = s.StartedAt
	}
	return s
}
