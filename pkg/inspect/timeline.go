package inspect

import (
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Timeline says when the rollout of a version reached each step. A zero time is a
// step that lies ahead or that the log does not tell.
type Timeline struct {
	// AnnouncedAt is when the services were told of the version.
	AnnouncedAt time.Time `json:"announced_at,omitzero"`
	// ConvergedAt is when the last instance reported it.
	ConvergedAt time.Time `json:"converged_at,omitzero"`
	// RetireAt is when the version before may be retired at the earliest.
	RetireAt time.Time `json:"retire_at,omitzero"`
	// Since is when the rollout entered its present state.
	Since time.Time `json:"since,omitzero"`
}

// timeline returns what the log says of the rollout of version. announced is the last
// announcement of the secret, which may be of another version.
func timeline(r rollout.Rollout, version secret.VersionID, announced events.Announcement) *Timeline {
	t := Timeline{AnnouncedAt: r.StartedAt, ConvergedAt: r.ConvergedAt, RetireAt: r.RetireAt, Since: r.Since}
	if t.AnnouncedAt.IsZero() && announced.Event.Data.VersionID == version {
		t.AnnouncedAt = announced.At
	}
	if t == (Timeline{}) {
		return nil
	}
	return &t
}
