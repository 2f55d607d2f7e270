package events

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Type says what an event reports. It is the CloudEvents attribute ce-type and
// the first part of the subject.
type Type string

// The types of event. All but the last two are announcements for everyone; the first
// and the last two are work that the bus hands to exactly one process.
const (
	// TypeNearExpiry: a version is about to end and has to be replaced.
	TypeNearExpiry Type = "secret.near_expiry"
	// TypeStaged: a pending version passed its test; services may load it for
	// verification before it is promoted.
	TypeStaged Type = "secret.staged"
	// TypeRotated: a version became current.
	TypeRotated Type = "secret.rotated"
	// TypeRotationFailed: a rotation was given up.
	TypeRotationFailed Type = "secret.rotation_failed"
	// TypeRollout: a promoted version moved on its way to the services.
	TypeRollout Type = "secret.rollout"
	// TypeDiscovered: a secret that no configuration lists says where it is and
	// who uses it, or that it is managed no longer.
	TypeDiscovered Type = "secret.discovered"
	// TypeProofContradicted: something shows that a version was retired although it
	// was in use.
	TypeProofContradicted Type = "secret.proof_contradicted"
	// TypeVerified: a login with the current version at its target showed something else
	// than the one before, or it is a day old.
	TypeVerified Type = "secret.verified"
	// TypeRetire: the grace period of a converged rollout is over.
	TypeRetire Type = "secret.retire"
	// TypeSweep: the stores have to be compared with the bus.
	TypeSweep Type = "sweep.due"
)

// Reason says why a version is or was replaced.
type Reason string

// Why a version is replaced.
const (
	ReasonNearExpiry Reason = "near_expiry"
	ReasonExpired    Reason = "expired"
	ReasonManual     Reason = "manual"
	ReasonEmergency  Reason = "emergency"
	// ReasonSupplied: a person wrote a value of their own, as the pending version that
	// the request names by its token. The worker generates none in its place.
	ReasonSupplied Reason = "supplied"
	// ReasonExternal: another program than a rotator, or a person, wrote the version.
	ReasonExternal Reason = "external"
	ReasonLambda   Reason = "lambda"
)

// Event is one CloudEvents 1.0 event. It never carries a value, nor anything
// computed from one. The attributes travel as ce-* headers, [Data] as the JSON
// body.
type Event struct {
	// ID is ce-id, unique per Source. Publishing the same occurrence twice
	// gives the same ID.
	ID string
	// Type is ce-type.
	Type Type
	// Source is ce-source: the component that says so, such as
	// /rotator/worker/host-1.
	Source string
	// Time is ce-time: when it happened.
	Time time.Time
	// Data is the body; its SecretID is also ce-subject.
	Data Data
}

// Data is the body of every event. A field that does not apply to a type is
// left out.
type Data struct {
	SecretID secret.ID `json:"secret_id,omitempty"`
	Store    string    `json:"store,omitempty"`
	// Path is present in a TypeRotated about a secret whose path in its store is not its
	// ID, so that it is found when no configuration lists it any more.
	Path              string           `json:"path,omitempty"`
	VersionID         secret.VersionID `json:"version_id,omitempty"`
	PreviousVersionID secret.VersionID `json:"previous_version_id,omitempty"`
	// Incarnation tells the secret from one that was deleted before, whose versions
	// may have had the same ids. It is present in TypeNearExpiry if the store knows
	// it.
	Incarnation string `json:"incarnation,omitempty"`
	Reason      Reason `json:"reason,omitempty"`
	// Missed is set in an announcement that was made up for later: when it was stored
	// says nothing about when the version was promoted.
	Missed bool `json:"missed,omitempty"`
	// Violations are the rules of the policy that VersionID breaks. They are present in
	// a TypeRotated about a version that another program wrote.
	Violations []string `json:"violations,omitempty"`
	// Unchecked is set where the worker or scheduler could not read such a version, so
	// whether it breaks rules is not known.
	Unchecked  bool      `json:"policy_unchecked,omitempty"`
	OccurredAt time.Time `json:"occurred_at,omitzero"`
	// NotAfter is the end of VersionID's life, absent for a version without end.
	NotAfter time.Time `json:"not_after,omitzero"`
	// ValidUntil is when an order to rotate or retire becomes a hint to look at the
	// secret. Nothing else ends.
	ValidUntil time.Time `json:"valid_until,omitzero"`
	// RotationID names the rotation: the token of the version it makes.
	RotationID secret.Token `json:"rotation_id,omitempty"`
	// Request is present in TypeNearExpiry for a rotation that was asked for, and
	// in the TypeRotationFailed that ends it.
	Request *Request `json:"request,omitempty"`
	// Retry holds what earlier tries of the work left behind. Its fields are
	// fields of the body.
	Retry
	// Rollout is present in TypeRollout and TypeRetire.
	Rollout *Rollout `json:"rollout,omitempty"`
	// Discovered is present in TypeDiscovered.
	Discovered *Discovered `json:"discovered,omitempty"`
	// Contradiction is present in TypeProofContradicted.
	Contradiction *Contradiction `json:"contradiction,omitempty"`
	// Verification is present in TypeVerified.
	Verification *Verification `json:"verification,omitempty"`
}

// RolloutState is where a promoted version is on its way.
type RolloutState string

// The states of a rollout: rolling → converged → draining → retired; rolling →
// waiting → stalled and back; any of these three → rolled_back; any but retired →
// superseded.
const (
	RolloutRolling   RolloutState = "rolling"
	RolloutConverged RolloutState = "converged"
	// RolloutWaiting: nothing blocks but fences that have not ended yet.
	RolloutWaiting RolloutState = "waiting"
	// RolloutDraining: services are told to accept no version but the new one.
	RolloutDraining   RolloutState = "draining"
	RolloutRetired    RolloutState = "retired"
	RolloutStalled    RolloutState = "stalled"
	RolloutRolledBack RolloutState = "rolled_back"
	RolloutSuperseded RolloutState = "superseded"
)

// Rollout is the state of a rollout at the time of the event.
type Rollout struct {
	State RolloutState `json:"state"`
	// StartedAt is when the version was announced.
	StartedAt time.Time `json:"started_at,omitzero"`
	// BehindSince is since when instances have been behind, if that is before this
	// rollout: earlier ones were superseded before they converged.
	BehindSince time.Time `json:"behind_since,omitzero"`
	// ConvergedAt is when the last instance reported the version.
	ConvergedAt time.Time `json:"converged_at,omitzero"`
	// RetireAt is when the previous version may be retired.
	RetireAt time.Time `json:"retire_at,omitzero"`
	// Suspended says that the older versions are suspended at the target, or are about
	// to be: they come back unless they are revoked.
	Suspended bool `json:"suspended,omitempty"`
	// Applied is how many instances run the version.
	Applied int `json:"applied"`
	// Blocking are the instances and services that do not, at most
	// MaxBlocking of them; BlockingTotal is how many there are.
	Blocking      []Blocker `json:"blocking,omitempty"`
	BlockingTotal int       `json:"blocking_total,omitempty"`
}

// MaxBlocking bounds [Rollout.Blocking].
const MaxBlocking = 20

// Rotated returns the announcement that d.VersionID became current. Its ID
// depends on the secret and the version only, so that all who announce a
// version announce the same occurrence.
func Rotated(source string, now time.Time, d Data) Event {
	d.OccurredAt = now
	id := secret.NewToken(d.SecretID, d.VersionID, string(TypeRotated), 0)
	return Event{ID: string(id), Type: TypeRotated, Source: source, Time: now, Data: d}
}

// NearExpiry returns the event that asks for the rotation of the current
// version that m shows.
func NearExpiry(source string, now time.Time, s secret.Spec, m secret.Metadata) Event {
	cur := m.Current()
	id := secret.NewToken(s.ID, cur.ID, string(TypeNearExpiry), 0)
	return Event{ID: string(id), Type: TypeNearExpiry, Source: source, Time: now, Data: Data{
		SecretID: s.ID, Store: s.Store, VersionID: cur.ID, Incarnation: m.Incarnation, Reason: ReasonNearExpiry, OccurredAt: now, NotAfter: s.NotAfter(m, cur),
	}}
}
