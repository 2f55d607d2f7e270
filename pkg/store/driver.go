package store

import (
	"context"
	"iter"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Driver is what a store has to be able to do. [Store] puts on top of it what
// is the same for all: validation, timeouts, error texts, telemetry. A driver
// only talks to its service.
//
// Contract, held by the conformance suite in storetest:
//
//   - Every error wraps exactly one of the sentinels of this package where one
//     fits, as fmt.Errorf("%w: %w", store.ErrNotFound, err), so that errors.As
//     still reaches the error of the SDK. Context errors pass unwrapped.
//   - No error and no log line contains a value. A server may quote what it is
//     sent, so a call that sends a value has its error from [secret.Scrub]. Store
//     does that for Write.Value, the driver for a value that only it has at hand,
//     and for its own credentials.
//   - Every method is safe for concurrent use and returns soon after ctx ends.
//   - A path has been validated as a [secret.ID] alphabet string.
type Driver interface { //nolint:interfacebloat // Features are data beside the seven operations
	// Features declare what the driver and its service can do. They never
	// change.
	Features() Features

	// Describe reads everything about a secret but its values. ErrNotFound
	// when the store does not know the path.
	Describe(ctx context.Context, path string) (secret.Metadata, error)

	// List yields every secret of the store in bulk calls, in no order. It
	// stops after yielding an error. What a bulk call does not tell is left
	// zero; Describe has it. A driver that skips many entries yields the zero
	// Metadata as a keep-alive, which callers ignore: without any yield for
	// [Options.Timeout] the list fails.
	List(ctx context.Context) iter.Seq2[secret.Metadata, error]

	// Get reads one version and its value. ErrNotFound when there is no such
	// version, ErrNoValue when it has been registered without a value or its
	// value was removed.
	Get(ctx context.Context, path string, sel Selector) (secret.Version, secret.Value, error)

	// Put writes w.Value as the pending version of the rotation w.Token and
	// returns it. A read of the current version does not return it.
	//
	// It is idempotent by token: when a version with the token exists, Put
	// returns that version if it holds the same value and ErrTokenReused if it
	// holds another. A pending version of another token gives ErrPending, and
	// nothing is written, unless w.Replace names that version. When w.From is
	// not the current version Put returns ErrConflict.
	Put(ctx context.Context, path string, w Write) (secret.Version, error)

	// Promote makes the pending version to current and the version from
	// previous, in one step: compare-and-set on the current stage. from is ""
	// when the secret has no current version yet. Promoting what is already
	// current is success. ErrConflict when from is not current, ErrNotFound
	// when to is not there. A version that any process has withdrawn or replaced is
	// not pending: one of the two, however lately the driver has read. A version
	// that was previous before loses its stage, not its value, which the store may
	// drop once there are many such.
	Promote(ctx context.Context, path string, from, to secret.VersionID) error

	// Retire takes the stage of a version away and treats its value as mode
	// says. Retiring the current version is ErrConflict; a version that is
	// retired or gone is success. A pending version may be retired: that is
	// how a rotation is given up.
	Retire(ctx context.Context, path string, v secret.VersionID, mode secret.RetireMode) error

	// Close releases what the driver holds. It must be called once.
	Close() error
}

// Selector names one version of a secret: by Version if that is set, else by
// Stage, else the current one. The zero value means the current version.
type Selector struct {
	Version secret.VersionID
	Stage   secret.Stage
	// Primary asks for an answer that no acknowledged write is missing from. A
	// driver that cannot choose who answers ignores it and says so in its
	// documentation.
	Primary bool
}

// Write is one new version.
type Write struct {
	// Token names the rotation; required.
	Token secret.Token
	// From is the version that was current when the rotation began, "" when
	// the secret is new.
	From secret.VersionID
	// Value is the new value; 1 to secret.MaxValueLength bytes.
	Value secret.Value
	// Lifetime is how long the version lives from when the store writes it, by the clock
	// of the store; 0 for without end. NotAfter is an end that does not depend on that
	// moment, zero for none. The earlier end counts. Stores that cannot keep it per
	// version ignore both.
	Lifetime time.Duration
	NotAfter time.Time
	// Replace, if set, is a pending version of another rotation that has been
	// given up: it loses its stage when this one is written.
	Replace secret.VersionID
	// Create makes the secret when the store does not know it yet; without it
	// that is ErrNotFound.
	Create bool
}

// End returns the end of the version's life if the store writes it at now, by the
// store's clock. It is zero for a version without end.
func (w Write) End(now time.Time) time.Time {
	if end := now.Add(w.Lifetime); w.Lifetime > 0 && (w.NotAfter.IsZero() || end.Before(w.NotAfter)) {
		return end
	}
	return w.NotAfter
}
