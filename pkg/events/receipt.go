package events

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Basis says how the proof of a retirement came about.
type Basis string

// The bases of a retirement.
const (
	// BasisProof: the records of every user allowed it.
	BasisProof Basis = "proof"
	// BasisEmergency: an emergency, which waits neither for the floor nor for fences
	// that run.
	BasisEmergency Basis = "emergency"
	// BasisConfirmed: a person confirmed that no user was lost with records of users,
	// or that a consumer without a client uses the version.
	BasisConfirmed Basis = "confirmed"
	// BasisForced: a person had it done without proof, see [Forced].
	BasisForced Basis = "forced"
)

// Receipt says why older versions of a secret were retired: a worker stores it
// before the first of them is revoked or destroyed. It records a decision; that the
// decision was carried out is said by the rollout event with the state retired.
//
// It holds no value and no hash of one. Durations are texts such as 1h30m, but
// for those in Proof.
type Receipt struct {
	SecretID secret.ID `json:"secret_id"`
	Store    string    `json:"store,omitempty"`
	// VersionID is the version that replaced the ones in Retired.
	VersionID secret.VersionID   `json:"version_id"`
	Retired   []secret.VersionID `json:"retired"`
	// Compromised are those of Retired that had leaked: an emergency replaced them, and
	// destroyed their values.
	Compromised []secret.VersionID `json:"compromised,omitempty"`
	// Forced is who had it done without proof, nil for nobody. Breaks are then the
	// instances that the records named as users of what was retired.
	Forced *Forced `json:"forced,omitempty"`
	// Pending is the version that was staged to follow, "" for none.
	Pending secret.VersionID `json:"pending_version_id,omitempty"`
	// Cause is why VersionID was made, and RotationID the token of that rotation.
	Cause      Reason       `json:"cause,omitempty"`
	RotationID secret.Token `json:"rotation_id,omitempty"`
	Basis      Basis        `json:"basis"`
	// PromotedAt is when the announcement of VersionID was stored. StartedAt tells
	// its rollout from others, ConvergedAt and RetireAt are those of [Rollout], and
	// State is what the log said of the rollout before the decision.
	PromotedAt  time.Time    `json:"promoted_at"`
	StartedAt   time.Time    `json:"started_at"`
	ConvergedAt time.Time    `json:"converged_at,omitzero"`
	RetireAt    time.Time    `json:"retire_at"`
	State       RolloutState `json:"rollout_state"`
	// DecidedAt is when the worker decided, by its own clock. The clock of the server
	// is Barrier.At.
	DecidedAt time.Time `json:"decided_at"`
	Worker    string    `json:"worker"`
	// Barrier is the message through which the records of the users were read.
	Barrier ReceiptBarrier `json:"barrier"`
	// Rules are the settings in force.
	Rules ReceiptRules `json:"rules"`
	// Confirmed are the consumers without a client that were confirmed to use
	// VersionID, and Foreign is what showed that another system works on the secret.
	Confirmed map[string]Confirmed `json:"confirmed,omitempty"`
	Foreign   string               `json:"foreign,omitempty"`
	// Doubts say what rested on time alone, or could not be known.
	Doubts []string `json:"doubts,omitempty"`
	// Applied counts the live instances that ran VersionID, and Instances all users
	// by state: live, ended, silent.
	Applied   int            `json:"applied"`
	Instances map[string]int `json:"instances,omitempty"`
	// Users are the users of the secret. Omitted counts those for which there was no
	// room, nil for none.
	Users   []ReceiptUser   `json:"users,omitempty"`
	Omitted *ReceiptOmitted `json:"omitted,omitempty"`
	// Breaks are instances that an emergency did not wait for.
	Breaks []Blocker `json:"breaks,omitempty"`
	// Timer is what a retirement by a timer would have done instead.
	Timer ReceiptTimer `json:"timer"`
	// Target is what the target saw of the retired versions.
	Target []TargetSample `json:"target,omitempty"`
	// Soak says how the retired versions were suspended before, nil for a secret without
	// a target.
	Soak *ReceiptSoak `json:"soak,omitempty"`
	// Previous is the receipt before this one about the same secret, nil for none.
	Previous *ReceiptLink `json:"previous,omitempty"`
}

// Forced says who had versions retired without proof, and why.
type Forced struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
	Ticket string `json:"ticket,omitempty"`
}

// ReceiptBarrier is the end of the records that a receipt rests on.
type ReceiptBarrier struct {
	Seq uint64 `json:"sequence"`
	// At is when the server stored it: the clock of the decision.
	At time.Time `json:"at"`
	// Since is when the stream was made. Confirmed is the stream of which it is known
	// that no user was lost before it, and ConfirmedBy the person who said so, if one
	// did.
	Since       time.Time `json:"stream_since"`
	Confirmed   time.Time `json:"confirmed,omitzero"`
	ConfirmedBy string    `json:"confirmed_by,omitempty"`
}

// ReceiptRules are the settings that a receipt was decided with.
type ReceiptRules struct {
	// Services are the subscribers, and Proof is what the proof rests on besides them.
	Services []string     `json:"services,omitempty"`
	Proof    secret.Proof `json:"proof,omitzero"`
	// Fence and Grace are those of the secret, Lease is the longest one of a user,
	// and Floor is when the floor was over.
	Fence string    `json:"fence"`
	Grace string    `json:"grace"`
	Lease string    `json:"lease"`
	Floor time.Time `json:"floor"`
}

// ReceiptUser is one incarnation that used the secret, as its records said.
type ReceiptUser struct {
	Service     string             `json:"service"`
	Instance    string             `json:"instance,omitempty"`
	Incarnation string             `json:"incarnation,omitempty"`
	VersionID   secret.VersionID   `json:"version_id,omitempty"`
	Status      ApplyStatus        `json:"status,omitempty"`
	Wanted      secret.VersionID   `json:"wanted,omitempty"`
	Accepts     []secret.VersionID `json:"accepts"`
	PastFence   PastFence          `json:"past_fence"`
	// Fence and Lease are in seconds.
	Fence int `json:"fence_seconds,omitempty"`
	Lease int `json:"lease_seconds,omitempty"`
	// Fleet is that of the process, "" for none.
	Fleet  string `json:"fleet,omitempty"`
	Joined bool   `json:"joined"`
	Ended  bool   `json:"ended,omitempty"`
	// State is what followed from the records: live, ended or silent.
	State string `json:"state"`
	// StartedAt and AppliedAt are by the clock of the process, UsedAt and RenewedAt
	// are when the server stored the last use and the last presence.
	StartedAt time.Time `json:"started_at,omitzero"`
	AppliedAt time.Time `json:"applied_at,omitzero"`
	UsedAt    time.Time `json:"used_at,omitzero"`
	RenewedAt time.Time `json:"renewed_at,omitzero"`
	// FenceEnd is when the process refuses older versions if it stays silent, zero
	// for never.
	FenceEnd time.Time `json:"fence_end,omitzero"`
	// Problem says why the records were not understood.
	Problem string `json:"problem,omitempty"`
}

// ReceiptOmitted counts users that a receipt has no room for.
type ReceiptOmitted struct {
	Instances map[string]int `json:"instances"`
	// SHA256 is the hash, in hexadecimal, of their JSON objects, one a line, in
	// their order.
	SHA256 string `json:"sha256"`
}

// ReceiptTimer is what would have happened if a timer had retired the older versions
// a fixed time after the promotion, instead of a proof.
type ReceiptTimer struct {
	After string `json:"after"`
	// Broken is how many instances would have used an older version after that, as
	// far as records were left. Instances names the first of them.
	Broken    int      `json:"broken"`
	Instances []string `json:"instances,omitempty"`
}

// TargetSample is what a target saw of a retired version at one time.
type TargetSample struct {
	At        time.Time        `json:"at"`
	VersionID secret.VersionID `json:"version_id"`
	Sessions  int              `json:"sessions"`
	LastUsed  time.Time        `json:"last_used,omitzero"`
}

// ReceiptSoak is the suspension of versions before they are revoked.
type ReceiptSoak struct {
	// SuspendedAt is since when the target refused new uses of them.
	SuspendedAt time.Time `json:"suspended_at,omitzero"`
	// Watched says that the target would have told of a use that it refused.
	Watched bool `json:"watched,omitempty"`
	// Skipped says why they were not suspended, "" if they were.
	Skipped string `json:"skipped,omitempty"`
}

// ReceiptLink names the receipt before another one.
type ReceiptLink struct {
	Seq uint64 `json:"sequence"`
	// SHA256 is its [Sealed.Digest].
	SHA256 string `json:"sha256"`
}

// SameRetirement reports whether two receipts are about one retirement: the rollout
// of one version, announced once.
func (r Receipt) SameRetirement(other Receipt) bool {
	return r.SecretID == other.SecretID && r.VersionID == other.VersionID && r.StartedAt.Equal(other.StartedAt)
}
