package notify

import (
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Status is a rollout as people may see it.
type Status struct {
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
func (t *tracker) snapshot() []Status {
	t.mu.Lock()
	ids := make([]secret.ID, 0, len(t.secrets))
	for id := range t.secrets {
		ids = append(ids, id)
	}
	t.mu.Unlock()
	slices.Sort(ids)
	out := make([]Status, len(ids))
	for i, id := range ids {
		out[i] = t.status(id)
	}
	return out
}

func (t *tracker) status(id secret.ID) Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.secrets[id].rollout
	spec, _ := t.spec(id)
	blocking, applied := events.Blocking(t.fleet.of(id), spec.Services, id, r.VersionID)
	s := Status{
		SecretID: id, VersionID: r.VersionID, PreviousVersionID: r.PreviousVersionID, State: shown(r.State), Since: r.Since,
		StartedAt: r.StartedAt, RetireAt: r.RetireAt, Applied: applied, Blockers: listed(blocking), BlockersTotal: len(blocking),
	}
	if s.Since.IsZero() {
		s.Since = s.StartedAt
	}
	return s
}
