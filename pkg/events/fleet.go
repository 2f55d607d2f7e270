package events

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// PastFence says what the users of a secret in one process do with a version
// that the process could not confirm for as long as its fence.
type PastFence string

// What happens past the fence. A reader takes any other text for PastFenceServe.
const (
	// PastFenceRefuse: every user of the secret in the process refuses.
	PastFenceRefuse PastFence = "refuse"
	// PastFenceServe: the process goes on using the version, so its silence proves
	// nothing.
	PastFenceServe PastFence = "serve"
)

// OlderIncarnation returns the incarnation under which the notifier records an
// instance whose client writes no records of its own. It tells the instances of one
// service apart, because the subject of a use does not name the instance.
func OlderIncarnation(instance string) string {
	sum := sha256.Sum256([]byte(instance))
	return "older-" + hex.EncodeToString(sum[:12])
}

// Presence is the record that an incarnation lives. The server's time of the
// last one is the time of its last renewal.
type Presence struct {
	// Service and Instance name the process; Incarnation is a nonce that no other
	// process has. Each is one subject token.
	Service     string `json:"service"`
	Instance    string `json:"instance"`
	Incarnation string `json:"incarnation"`
	// StartedAt is when the process started.
	StartedAt time.Time `json:"started_at"`
	// At is when the record was made, by the clock of the process.
	At time.Time `json:"at"`
	// Lease is for how long the record says that the process lives, in seconds.
	Lease int `json:"lease_seconds"`
	// Fleet names the fleet of the instance, "" for none: one subject token.
	Fleet string `json:"fleet,omitempty"`
	// Process says which process of which host this is, so that an agent there can
	// witness its end. Nil where that cannot be known.
	Process *Process `json:"process,omitempty"`
	// Ended is set in the last record of an incarnation.
	Ended bool `json:"ended,omitempty"`
}

// Process names one process of one host for ever: a PID comes again, and so does
// a boot.
type Process struct {
	BootID string `json:"boot_id"`
	PID    int    `json:"pid"`
	// StartTicks is the start time of the process in clock ticks after the boot.
	StartTicks uint64 `json:"start_ticks"`
}

// Use is the record of what one incarnation does with one secret. It is written
// before the first read of the secret, with an empty VersionID, and after every
// change.
type Use struct {
	Running

	Service     string `json:"service"`
	Instance    string `json:"instance"`
	Incarnation string `json:"incarnation"`
	// Accepts lists the versions besides VersionID that the process authorises or
	// signs something new with. Null means any version: a client that does not
	// know.
	Accepts []secret.VersionID `json:"accepts"`
	// PastFence says what the users do past the fence.
	PastFence PastFence `json:"past_fence"`
	// Fence is how long the process uses a version without confirming it, in
	// seconds.
	Fence int `json:"fence_seconds"`
	// Joined is false while the process has taken the secret into use without an
	// acknowledged record, because the bus could not be reached.
	Joined bool `json:"joined"`
	// Ended is set in the last record of a process that does not use the secret any
	// more, and lives. A later record without it begins another use.
	Ended bool `json:"ended,omitempty"`
	// RetiredUses are uses of retired versions that the process refused since it
	// started, at most MaxRetiredUses.
	RetiredUses []RetiredUse `json:"retired_uses,omitempty"`
}

// User is what is known of one incarnation that uses one secret.
type User struct {
	Use      Use
	Presence Presence
	// UsedAt and RenewedAt are when the server stored the two records. RenewedAt is
	// zero when there is no presence.
	UsedAt, RenewedAt time.Time
	// Problem says why one of the records is not understood, "" for none. Nothing
	// is known then of what the incarnation uses.
	Problem string
}

// Ended reports whether the incarnation has ended, or its use of the secret.
func (u User) Ended() bool { return u.Presence.Ended || u.Use.Ended }

// Fleet is everything that was stored about the users of one secret before the
// read began: complete, or not returned.
type Fleet struct {
	SecretID secret.ID
	Users    []User
	// Seq is the sequence of the barrier that the read went through.
	Seq uint64
	// At is when the server stored the barrier: the clock of every decision on the
	// fleet.
	At time.Time
	// Since is when the stream was made. What was stored before is lost.
	Since time.Time
	// Confirmed is when the latest stream was made of which it is known that no user
	// was lost with one before it, zero if that is not known of any: see
	// [Confirmation].
	Confirmed time.Time
	// ConfirmedBy is the person who said so, "" if a program did.
	ConfirmedBy string
	// Full is true when the stream refuses records of new incarnations and uses.
	Full bool
	// FullBy is set when the stream of reports of older clients refuses further instances:
	// to the service that holds most of it.
	FullBy string
}

// FleetEvent is one record of the stream of uses, or a mark in a watch of them.
type FleetEvent struct {
	// Presence or Use is the record; the other one is nil. Of one that is not
	// understood only what its subject says is set.
	Presence *Presence
	Use      *Use
	// Seq is the sequence of the record, At is when the server stored it.
	Seq uint64
	At  time.Time
	// Problem says why the record is not understood, "" if it is.
	Problem string
	// Since is set in an event without a record, before the first one and when the
	// watch begins anew: when the stream was made. A later time than before means
	// that the stream was lost, and what was known of it is only the past.
	Since time.Time
	// Synced is set, once, in an event without a record, after the records that
	// were there at the start.
	Synced bool
}
