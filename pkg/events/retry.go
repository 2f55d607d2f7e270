package events

import "time"

// Retry is the history of work that is tried more than once. It is present in
// TypeNearExpiry and TypeRetire, and in TypeRotationFailed, where it describes
// the last try. The zero value is that of a first try.
type Retry struct {
	// Attempt counts the tries of one rotation, from 0.
	Attempt int `json:"attempt,omitempty"`
	// Rejections counts how often the target or the policy refused the pending
	// value of the rotation; it is part of Attempt.
	Rejections int `json:"rejections,omitempty"`
	// QuietSince is since when the target has seen no session of the versions that
	// a retirement revokes, in each try (TypeRetire).
	QuietSince time.Time `json:"quiet_since,omitzero"`
	// LastUsed is the last use of them that the target knew of then, by its own clock.
	LastUsed time.Time `json:"last_used,omitzero"`
	// InUse are the sessions of these versions that the target saw in the last try,
	// nil for none (TypeRetire).
	InUse *InUse `json:"in_use,omitempty"`
	// SuspendedAt is since when these versions are suspended at the target, zero if they
	// are not (TypeRetire).
	SuspendedAt time.Time `json:"suspended_at,omitzero"`
	// Resumed says that they were suspended and used, and came back; nil if they were
	// not (TypeRetire).
	Resumed *Resumed `json:"resumed,omitempty"`
	// Failure says why a rotation was given up (TypeRotationFailed), or why it
	// is tried again (TypeNearExpiry with Attempt > 0).
	Failure *Failure `json:"failure,omitempty"`
}

// InUse are sessions at a target that hold a retirement back.
type InUse struct {
	// Total is how many there are, and Sessions are some of them.
	Total    int       `json:"total"`
	Sessions []Blocker `json:"sessions"`
}

// Named returns the sessions that are named.
func (u *InUse) Named() []Blocker {
	if u == nil {
		return nil
	}
	return u.Sessions
}

// Resumed is a suspension that ended because a suspended version was used.
type Resumed struct {
	// At is when the versions came back, and Times how often they have.
	At    time.Time `json:"at"`
	Times int       `json:"times"`
	// Clients are those that used them.
	Clients *InUse `json:"clients"`
}

// maxInUse is how many sessions a retry names at most.
const maxInUse = 100

// Failure says what went wrong. It never holds the text of a server.
type Failure struct {
	// Step of the rotation that failed.
	Step string `json:"step"`
	// Code is a short constant, fit for a metric.
	Code FailureCode `json:"code"`
	// Message is for people: one fixed sentence for each code.
	Message string `json:"message"`
}

// FailureCode names the kind of a [Failure]. Besides the constants below it is
// any name that a store gives to its errors, such as access_denied.
type FailureCode string

// The codes of failures that are not those of a store.
const (
	// CodeQuarantined: the target or the policy refused every value. The
	// rotation is given up until an operator asks for it.
	CodeQuarantined FailureCode = "quarantined"
	// CodeStuck: a rotation that the store runs has passed its deadline. It is
	// given up until an operator asks for it.
	CodeStuck FailureCode = "stuck"
	// CodeRunning: a rotation that the store runs has not ended yet.
	CodeRunning FailureCode = "running"
	// CodeRejected: the target or the policy refused the value.
	CodeRejected FailureCode = "rejected"
	// CodeAwaiting: instances have not loaded the staged version yet.
	CodeAwaiting FailureCode = "awaiting_instances"
	// CodeStagedDeadline: a staged version was promoted at its deadline without
	// them. It is a metric only.
	CodeStagedDeadline FailureCode = "staged_deadline"
	// CodeBlocked: the previous version may not be retired yet.
	CodeBlocked FailureCode = "blocked"
	// CodeDrainOverdue: the target sees sessions of an older version, or cannot say that
	// it sees none, after the deadline of the drain.
	CodeDrainOverdue FailureCode = "drain_overdue"
	// CodeSuspendedUse: a version was used while it was suspended at the target, and
	// came back.
	CodeSuspendedUse FailureCode = "suspended_use"
	// CodeInvalidPolicy: no value can satisfy the policy.
	CodeInvalidPolicy FailureCode = "invalid_policy"
	// CodeShape: the rotation would replace a document, or another value that is more
	// than one password or key.
	CodeShape FailureCode = "shape"
	// CodeUnknownSecret: the secret is not configured on this worker.
	CodeUnknownSecret FailureCode = "unknown_secret"
	// CodeInvalidTags: the tags of a discovered secret cannot be carried out.
	CodeInvalidTags FailureCode = "invalid_tags"
	// CodeTooSoon: the last rotation of the secret is less than a tenth of its
	// lifetime ago, by the clock of the log. A clock is wrong, or the margin is longer
	// than the lifetime.
	CodeTooSoon FailureCode = "too_soon"
	// CodeWithdrawn: the value that a person supplied is no longer pending.
	CodeWithdrawn FailureCode = "withdrawn"
	// CodeConflict: another process changed the secret or the log first.
	CodeConflict FailureCode = "conflict"
)
