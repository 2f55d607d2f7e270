// Package status gathers all that is known of one secret, for the programs to
// show. It changes nothing, and decides nothing that pkg/scheduler does not.
package status

import (
	"context"
	"errors"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Secret is one secret as status and plan show it.
type Secret struct {
	SecretID secret.ID `json:"secret_id"`
	Store    string    `json:"store"`
	Path     string    `json:"path"`
	// Discovered is true for a secret that no configuration lists and that its own
	// tags configure.
	Discovered bool             `json:"discovered"`
	VersionID  secret.VersionID `json:"version_id,omitempty"`
	CreatedAt  time.Time        `json:"created_at,omitzero"`
	NotAfter   time.Time        `json:"not_after,omitzero"`
	Pending    secret.VersionID `json:"pending_version_id,omitempty"`
	Previous   secret.VersionID `json:"previous_version_id,omitempty"`
	RotateAt   time.Time        `json:"rotate_at,omitzero"`
	Reason     scheduler.Reason `json:"reason"`
	Message    string           `json:"message"`
	// Failure is why the last try failed, while the next one or an operator is
	// awaited.
	Failure  *events.Failure     `json:"failure,omitempty"`
	Armed    bool                `json:"armed"`
	Rollout  events.RolloutState `json:"rollout,omitempty"`
	Applied  int                 `json:"applied"`
	Blocking []events.Blocker    `json:"blocking,omitempty"`
	Services []string            `json:"services,omitempty"`
	// Findings are what its owner has to correct in its tags.
	Findings []secret.Finding `json:"problems,omitempty"`
	Error    string           `json:"error,omitempty"`
}

// Bus is what is read of the bus; *events.Bus is one.
type Bus interface {
	Last(ctx context.Context, t events.Type, id secret.ID) (events.Announcement, error)
	Timer(ctx context.Context, t events.Type, id secret.ID) (events.Timer, error)
}

// Look returns s with all that is known of the secret, given what its store
// says and, unless bus is nil, the reports on the bus. What cannot be read there
// is in its Error.
func (s Secret) Look(ctx context.Context, spec secret.Spec, facts scheduler.Facts, bus Bus, reports []events.Report) Secret {
	meta := facts.Meta
	var last events.Data
	if bus != nil {
		var err error
		if last, err = ask(ctx, bus, spec.ID, &facts); err != nil {
			s.Error = err.Error()
		}
	}
	d := scheduler.Evaluate(time.Now(), spec, facts)
	s.Reason, s.Message, s.Failure, s.RotateAt, s.Armed = d.Reason, d.Message, d.Failure, d.At, facts.Timer.Seq != 0
	cur := meta.Current()
	s.VersionID, s.CreatedAt, s.NotAfter = cur.ID, cur.CreatedAt, spec.NotAfter(meta, cur)
	pending, _ := meta.At(secret.StagePending)
	previous, _ := meta.At(secret.StagePrevious)
	s.Pending, s.Previous = pending.ID, previous.ID
	if cur.ID != "" && bus != nil {
		s.Rollout = events.RolloutRolling
		s.Blocking, s.Applied = rollout.Blocking(reports, spec.Services, spec.ID, cur.ID)
	}
	if last.VersionID == cur.ID && last.Rollout != nil {
		s.Rollout = last.Rollout.State
	}
	return s
}

// ask adds what the bus says to the facts, and returns where the rollout is.
func ask(ctx context.Context, bus Bus, id secret.ID, facts *scheduler.Facts) (events.Data, error) {
	timer, terr := bus.Timer(ctx, events.TypeNearExpiry, id)
	failed, ferr := bus.Last(ctx, events.TypeRotationFailed, id)
	last, rerr := bus.Last(ctx, events.TypeRollout, id)
	facts.Timer, facts.Failed = timer, failed.Event.Data
	return last.Event.Data, errors.Join(terr, ferr, rerr)
}
