package rotation

import "github.com/tradepulse/rotator/pkg/events"

// messages are what events say of a failure. No other text is in the message of an
// event: every service, and whatever listens to the bus, reads it.
var messages = map[events.FailureCode]string{
	events.CodeQuarantined:   errQuarantined.Error(),
	events.CodeStuck:         errStuck.Error(),
	events.CodeRunning:       errRunning.Error(),
	events.CodeRejected:      "the target or the policy refused the value",
	events.CodeAwaiting:      ErrAwaiting.Error(),
	events.CodeBlocked:       errBlocked.Error(),
	events.CodeDrainOverdue:  errDrainOverdue.Error(),
	events.CodeSuspendedUse:  errSuspendedUse.Error(),
	events.CodeInvalidPolicy: "no value can satisfy the policy, or the current value has no string at its field (a byte order mark in front hides all fields); correct either",
	events.CodeShape:         "the value is more than one password or key; set field or whole in the policy of the secret",
	events.CodeUnknownSecret: "the secret is not configured on the worker",
	events.CodeInvalidTags:   "the tags of the secret cannot be carried out; correct them in the store",
	events.CodeTooSoon:       errTooSoon.Error(),
	events.CodeWithdrawn:     errWithdrawn.Error(),
	events.CodeConflict:      "another process changed the secret or the log first",
	"deleted":                "the secret or its current version was deleted in the store; restore it there, or write a new version",
	"not_found":              "the store has no such secret or version; create it there, or set create: true",
	"no_value":               "the version has no value in the store",
	"pending":                "another rotation has left a pending version",
	"token_reused":           "the rotation token already names another value",
	"access_denied":          "the store refuses the credentials or a permission is missing",
	"throttled":              "the store asks for fewer calls",
	"unavailable":            "the store cannot be reached or does not work",
	"read_only":              "the store cannot write",
	"invalid":                "the store can never accept the request as it is",
	"canceled":               "the worker stopped",
	"timeout":                "the call took too long",
}

// unknownMessage is the message of an error of no known kind.
const unknownMessage = "the step failed; the log of the worker has the error"

// message returns what an event says of a failure.
func message(c events.FailureCode) string {
	if m, ok := messages[c]; ok {
		return m
	}
	return unknownMessage
}
