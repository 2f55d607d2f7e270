package events

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// MaxRetiredUses bounds [Use.RetiredUses].
	MaxRetiredUses = 8
	// maxClient bounds [RetiredUse.Client], in bytes.
	maxClient = 64
)

// The clients of a [RetiredUse] that have no address.
const (
	// ClientUnknown: the user has no address of its client, or not a valid one.
	ClientUnknown = "unknown"
	// ClientOthers: clients for which there was no room, together.
	ClientOthers = "others"
)

// RetiredUse counts the uses of one retired version by one client, which a process has
// refused.
type RetiredUse struct {
	VersionID secret.VersionID `json:"version_id"`
	// Client is the address of the client, ClientUnknown or ClientOthers.
	Client string `json:"client"`
	// Uses is how often since the process started, and Last when the last time was, by
	// its clock.
	Uses int64     `json:"uses"`
	Last time.Time `json:"last"`
}

// ClientName returns the name of a client in a [RetiredUse]: s if it is an address or
// a host name, else ClientUnknown.
func ClientName(s string) string {
	const allowed = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.:-_%[]"
	if s == "" || len(s) > maxClient || strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(allowed, r) }) {
		return ClientUnknown
	}
	return s
}

// valid reports whether a reader may repeat it.
func (r RetiredUse) valid() bool {
	return r.VersionID.Validate() == nil && r.Uses > 0 && ClientName(r.Client) == r.Client
}

// validRetiredUses returns those that are valid, as many as a record may have. One that
// is not does not make the record one that is not understood.
func validRetiredUses(all []RetiredUse) []RetiredUse {
	all = slices.DeleteFunc(all, func(r RetiredUse) bool { return !r.valid() })
	return all[:min(len(all), MaxRetiredUses)]
}

// ContradictionKind says what contradicts the proof that a version was not in use.
type ContradictionKind string

// What contradicts a proof.
const (
	// ContradictionRetiredUsed: a client used a version after it was retired, and was
	// refused. Either an instance or a client was missed, or the value has leaked.
	ContradictionRetiredUsed ContradictionKind = "retired_version_used"
	// ContradictionJoinedLate: an instance whose users serve on had started without a
	// record of its use, and a version was retired before it joined.
	ContradictionJoinedLate ContradictionKind = "joined_late"
)

// Contradiction says what contradicts the proof on which a version was retired. The
// event that has it names the retired version in [Data.PreviousVersionID].
type Contradiction struct {
	Kind        ContradictionKind `json:"kind"`
	Service     string            `json:"service"`
	Instance    string            `json:"instance,omitempty"`
	Incarnation string            `json:"incarnation"`
	// Client, Uses and Last are those of [RetiredUse].
	Client string    `json:"client,omitempty"`
	Uses   int64     `json:"uses,omitempty"`
	Last   time.Time `json:"last,omitzero"`
	// StartedAt is when the instance started, by its clock, and JoinedAt when the
	// server stored its first record.
	StartedAt time.Time `json:"started_at,omitzero"`
	JoinedAt  time.Time `json:"joined_at,omitzero"`
}

func (c *Contradiction) validate() error {
	switch {
	case c == nil:
		return errors.New("a contradiction says nothing of the proof")
	case c.Kind == "" || len(c.Kind) > maxStatus:
		return errors.New("the kind of the contradiction is missing or too long")
	case c.Client != "" && ClientName(c.Client) != c.Client:
		return errors.New("the client of the contradiction is malformed")
	case c.Instance != "" && ValidToken(c.Instance) != nil:
		return errors.New("the instance of the contradiction is malformed")
	}
	return errors.Join(ValidToken(c.Service), ValidToken(c.Incarnation))
}
