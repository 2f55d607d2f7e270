package inspect

import (
	"cmp"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Secret is what is known of one secret. Its JSON form is the output of status
// and plan.
type Secret struct {
	// SecretID is "" for a discovered secret whose tags give no valid ID. With an
	// empty Path as well, the entry stands for its Store, which cannot be listed.
	SecretID secret.ID `json:"secret_id"`
	Store    string    `json:"store"`
	Path     string    `json:"path"`
	// Discovered is true for a secret that no configuration lists and that its own
	// tags configure.
	Discovered bool `json:"discovered"`
	// Owner, Purpose and Contact are what people said of it.
	Owner     string           `json:"owner,omitempty"`
	Purpose   string           `json:"purpose,omitempty"`
	Contact   string           `json:"contact,omitempty"`
	VersionID secret.VersionID `json:"version_id,omitempty"`
	CreatedAt time.Time        `json:"created_at,omitzero"`
	NotAfter  time.Time        `json:"not_after,omitzero"`
	Pending   secret.VersionID `json:"pending_version_id,omitempty"`
	Previous  secret.VersionID `json:"previous_version_id,omitempty"`
	// RotateAt is zero when no rotation is scheduled. Reason and Message say why,
	// for machines and for people.
	RotateAt time.Time        `json:"rotate_at,omitzero"`
	Reason   scheduler.Reason `json:"reason"`
	Message  string           `json:"message"`
	// Failure is why the last try failed, while the next one or an operator is
	// awaited.
	Failure *events.Failure `json:"failure,omitempty"`
	// Armed is whether a timer is set on the bus.
	Armed bool `json:"armed"`
	// Rollout is the state of the rollout of VersionID, Applied how many instances
	// run that version, and Blocking which others are waited for. They are zero
	// without a bus.
	Rollout  events.RolloutState `json:"rollout,omitempty"`
	Applied  int                 `json:"applied"`
	Blocking []events.Blocker    `json:"blocking,omitempty"`
	// RolloutSince is when the rollout entered its state, and RetireAt from when on the
	// version before dies, as far as it is known yet.
	RolloutSince time.Time `json:"rollout_since,omitzero"`
	RetireAt     time.Time `json:"retire_at,omitzero"`
	// Timeline is nil without a bus, and before the version was announced.
	Timeline *Timeline `json:"timeline,omitempty"`
	// SafeToRevoke says whether every version before VersionID may be revoked. Nil
	// without a bus.
	SafeToRevoke *rollout.SafeToRevoke `json:"safe_to_revoke,omitempty"`
	// WaitSeconds is the effective wait: the longest of grace, lease and floor, that a
	// version outlives the promotion of its successor at least.
	WaitSeconds int      `json:"wait_seconds,omitempty"`
	Services    []string `json:"services,omitempty"`
	// Findings are what its owner has to correct in its tags, and who reads it without
	// reporting it.
	Findings []secret.Finding `json:"problems,omitempty"`
	// Pause is who has its scheduled rotations wait, and why; nil for nobody.
	Pause *events.Pause `json:"pause,omitempty"`
	// Freeze is the freeze of the configuration that has its scheduled rotation wait, or
	// will; nil for none.
	Freeze *Frozen `json:"freeze,omitempty"`
	// Forced is the last act on the versions before, if a person had them destroyed
	// without proof.
	Forced *Forced `json:"forced,omitempty"`
	// DrainOverdue says that the target still sees sessions of an older version, or does
	// not answer, after the deadline of the drain.
	DrainOverdue bool `json:"drain_overdue,omitempty"`
	// SuspendedUntil is until when the versions before are suspended at the target, zero if
	// they are not.
	SuspendedUntil time.Time `json:"suspended_until,omitzero"`
	// Resumed says that they were used while they were suspended, and came back.
	Resumed *events.Resumed `json:"resumed,omitempty"`
	// Login is the last login with VersionID at its target. It is nil without a target,
	// and before a worker has logged in with that version.
	Login *TargetLogin `json:"target_login,omitempty"`
	// Error is why the secret, or what the bus says of it, cannot be read.
	Error string `json:"error,omitempty"`

	// Spec and Meta are what is configured and what the store knows. TimerAt is when
	// the timer on the bus fires, Announced the version that the log announced last, and
	// AnnouncedAt when.
	Spec        secret.Spec      `json:"-"`
	Meta        secret.Metadata  `json:"-"`
	TimerAt     time.Time        `json:"-"`
	Announced   secret.VersionID `json:"-"`
	AnnouncedAt time.Time        `json:"-"`
	// Err is the error of which Error is the text.
	Err error `json:"-"`
}

// OwnedBy returns who owns the secret: what is configured, else the tag of other programs,
// "" for no one.
func (s Secret) OwnedBy() string {
	return cmp.Or(s.Owner, s.Meta.Attributes["owner"])
}

// Frozen is a freeze, and when the rotation that it holds starts.
type Frozen struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
}

// show returns what an entry says of its secret.
func show(e catalog.Entry) Secret {
	return Secret{
		SecretID: e.Spec.ID, Store: e.Spec.Store, Path: e.Spec.StorePath(), Services: e.Spec.Services,
		Owner: e.Spec.Owner, Purpose: e.Spec.Purpose, Contact: e.Spec.Contact, Discovered: e.Origin == catalog.Discovered, Findings: e.Findings, Spec: e.Spec,
	}
}

// NeedsAttention reports whether a person has to act: the secret cannot be read,
// does not exist, is past its end, is not scheduled because of its tags, its target
// refuses it, or its rollout has stalled, does not drain, or has brought a suspended
// version back.
func (s Secret) NeedsAttention() bool {
	switch s.Reason {
	case scheduler.ReasonExpired, scheduler.ReasonNotFound, scheduler.ReasonDeleted, scheduler.ReasonInvalid, scheduler.ReasonCollision:
		return true
	default:
		refused := s.Login != nil && s.Login.State == events.VerifiedRefused
		return s.Error != "" || s.DrainOverdue || s.Resumed != nil || refused || s.Rollout == events.RolloutStalled
	}
}

// MayRotateBefore reports whether the secret rotates before t, or might because
// nothing is scheduled or known.
func (s Secret) MayRotateBefore(t time.Time) bool {
	return s.Error != "" || s.RotateAt.IsZero() || s.RotateAt.Before(t)
}
