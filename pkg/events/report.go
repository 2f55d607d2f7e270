package events

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Report is what one running process of a service says it runs. It is a lease:
// an instance that stops renewing it is gone when the lease ends.
type Report struct {
	// Service and Instance name the process; both are one subject token.
	Service  string `json:"service"`
	Instance string `json:"instance"`
	// StartedAt is when the process started.
	StartedAt time.Time `json:"started_at"`
	// At is when the report was made.
	At time.Time `json:"at"`
	// Secrets is what it runs, one entry per secret it watches.
	Secrets []Running `json:"secrets"`
	// Problem says why a report that was received is not understood, "" for one
	// that is. Nothing is known then of what the instance runs: it may be any
	// version of any secret of its service.
	Problem string `json:"-"`
}

// ApplyStatus says whether an instance uses the version it was told of. A reader
// may meet values that a later client has added; they never count as applied.
type ApplyStatus string

// The outcome of a reload.
const (
	// StatusApplied: the version is in use.
	StatusApplied ApplyStatus = "applied"
	// StatusFailed: the version could not be taken into use; the one before
	// still is.
	StatusFailed ApplyStatus = "failed"
	// StatusStaged: the version is loaded for verification only.
	StatusStaged ApplyStatus = "staged"
)

// Known reports whether s is a status that this version of the program
// understands.
func (s ApplyStatus) Known() bool {
	return s == StatusApplied || s == StatusFailed || s == StatusStaged
}

// Running is what an instance runs of one secret.
type Running struct {
	SecretID secret.ID `json:"secret_id"`
	// VersionID is the version in use.
	VersionID secret.VersionID `json:"version_id"`
	// Status is StatusApplied while nothing else is wanted; otherwise it says
	// what became of Wanted.
	Status ApplyStatus `json:"status"`
	// Wanted is the version that failed to load or is staged; "" when the
	// instance runs what it should.
	Wanted secret.VersionID `json:"wanted,omitempty"`
	// Reason says why Status is failed, in words that hold no value.
	Reason string `json:"reason,omitempty"`
	// At is when the version in use was taken into use.
	At time.Time `json:"at"`
}

// BlockReason says why a rollout has not converged. pkg/rollout decides.
type BlockReason string

// What may keep a rollout from converging.
const (
	// BlockOldVersion: the instance runs another version.
	BlockOldVersion BlockReason = "runs_other_version"
	// BlockFailed: the instance could not load the version.
	BlockFailed BlockReason = "failed"
	// BlockNotUnderstood: the instance is alive, and what it reports is not
	// understood here. Its client may be newer than this program.
	BlockNotUnderstood BlockReason = "report_not_understood"
	// BlockNoInstance: no live instance of a subscribed service reports the
	// secret.
	BlockNoInstance BlockReason = "no_live_instance"
	// BlockNoSubscriber: no service is subscribed and none reports the secret.
	BlockNoSubscriber BlockReason = "no_subscriber"
	// BlockSilent: the instance has not renewed its presence, and may still use
	// another version.
	BlockSilent BlockReason = "silent"
	// BlockAccepts: the instance runs the version and still accepts another one.
	BlockAccepts BlockReason = "accepts_old_version"
	// BlockUnlisted: the instance belongs to a service that is not subscribed, and
	// uses another version.
	BlockUnlisted BlockReason = "unlisted"
	// BlockUnknown: records that say who uses the secret were lost, or cannot be
	// stored.
	BlockUnknown BlockReason = "unknown"
	// BlockUnconfirmed: a consumer was not confirmed to use the version.
	BlockUnconfirmed BlockReason = "not_confirmed"
	// BlockFleet: no live instance of a declared fleet uses the secret.
	BlockFleet BlockReason = "fleet_not_heard"
	// BlockInUse: the target sees a session that was opened with an older version.
	// Instance is the address of its client.
	BlockInUse BlockReason = "in_use"
)

// Blocker is one instance or service that does not run a version, a consumer that was
// not confirmed, or a fleet; Service has the name of these two.
type Blocker struct {
	Service   string           `json:"service,omitempty"`
	Instance  string           `json:"instance,omitempty"`
	VersionID secret.VersionID `json:"version_id,omitempty"`
	Reason    BlockReason      `json:"reason"`
	Detail    string           `json:"detail,omitempty"`
	// Until is when the fence of a silent instance ends, which then no longer
	// blocks. Zero for everything that only an act ends.
	Until time.Time `json:"until,omitzero"`
}

// BlockReasons returns every reason, in the order in which the documentation
// lists them.
func BlockReasons() []BlockReason {
	return []BlockReason{BlockOldVersion, BlockFailed, BlockNotUnderstood, BlockNoInstance, BlockNoSubscriber, BlockSilent, BlockAccepts, BlockUnlisted, BlockUnknown, BlockUnconfirmed, BlockFleet, BlockInUse}
}

// String returns a line for people, such as "api/7f3 runs_other_version".
func (b Blocker) String() string {
	who := b.Service
	if b.Instance != "" {
		who += "/" + b.Instance
	}
	switch {
	case b.Reason == BlockUnconfirmed:
		return "the consumer " + b.Service + " (not_confirmed): " + b.Detail
	case b.Reason == BlockFleet:
		return "the fleet " + b.Service + " (fleet_not_heard): " + b.Detail
	case b.Reason == BlockInUse:
		return "a session of " + b.Instance + " at the target (in_use): " + b.Detail
	case b.Reason == BlockNoSubscriber:
		return "its missing users (no_subscriber): none is known; list them under services or consumers, or set no_subscribers"
	case who == "":
		return string(b.Reason)
	default:
		return who + " " + string(b.Reason)
	}
}
