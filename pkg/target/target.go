// Package target is the seam to the places besides the store where a value has
// to be valid: a database role, an account of an API, a hook.
//
// A rotation calls a [Target] in this order:
//
//	Propose ─► store: pending ─► Apply ─► Verify ─► store: current
//	every instance uses the new version ─► Revoke ─► store: retired
//
// A worker may die between any two of these calls, and another one repeats the
// last call. A target therefore finds out what has been done before it changes
// anything.
//
// A target receives values. It never puts one into an error, a log line, a
// command line or a [Ref]. The rotation scrubs the errors of a target of the values
// that went through it, since a server may quote them. A target scrubs what else it
// sends, such as its own credentials or what it derives from a value, with
// [secret.Scrub]. An error that quotes a value loses its type there, not the
// sentinels that it wraps.
//
// The package knows no store and no bus. It does not decide when a method is
// called (pkg/rotation).
package target

import (
	"context"
	"errors"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrRejected marks a failure that lies in the value, not in the connection to
// the target. After some of them the rotation proposes a fresh value.
var ErrRejected = errors.New("value rejected")

// ErrRefused marks the answer of a target that does not take a credential, as opposed
// to one that did not answer. It survives [secret.Scrub], which takes the type of an
// error away.
var ErrRefused = errors.New("login refused")

// ErrUnsupported is returned for what this server or configuration cannot do,
// by a target that can do it elsewhere. A target that can never do it does not
// implement the interface.
var ErrUnsupported = errors.New("not supported by the target")

// ErrCurrent marks a credential that must not be suspended: it is that of the current
// version, which a rollback may have made from the value of an older one.
var ErrCurrent = errors.New("it is the current credential")

// Target makes values valid in one place. It is safe for concurrent use. Each method
// has a deadline and returns soon after its context ends: until then it holds a slot of
// the worker.
//
// A target that can do more also implements [Inspector], [Ender],
// [Suspender], [Watcher] or [Lister].
type Target interface {
	// Capabilities says what a rotation may expect. It is constant.
	Capabilities() Capabilities
	// Propose returns the next value: what the target decides of it, such as a
	// user name or a key id, and the rest by the policy (see [ByPolicy]).
	Propose(ctx context.Context, c Change) (secret.Value, error)
	// Apply makes the pending value valid and returns what it made valid. It
	// first checks whether the pending value works already.
	Apply(ctx context.Context, c Change) (Ref, error)
	// Verify proves that the pending value works by using it, on every endpoint.
	// It waits up to [Capabilities.Lag] for an endpoint that lags. The error wraps
	// ErrRefused if the target answered and does not take the value.
	Verify(ctx context.Context, c Change) error
	// Revoke makes a credential invalid. Afterwards its value fails. Revoking a
	// credential that is unknown or was revoked before is a success.
	Revoke(ctx context.Context, r Ref, d Drain) error
}

// Inspector is implemented by targets that can tell whether a credential is in
// use.
type Inspector interface {
	// InUse returns the use of a credential, or ErrUnsupported.
	InUse(ctx context.Context, r Ref) (Usage, error)
}

// Ender is implemented by targets that can end the sessions of a credential and leave it
// valid.
type Ender interface {
	// End ends the open sessions, or only those that are idle: between two transactions,
	// commands or messages. It returns ErrUnsupported where the target does not know
	// whose a session is.
	End(ctx context.Context, r Ref, idle bool) error
}

// Suspender is implemented by targets that can make a credential invalid in a
// way that can be undone.
type Suspender interface {
	// Suspend makes new uses of the credential fail. The error wraps ErrCurrent for the
	// current one.
	Suspend(ctx context.Context, r Ref) error
	// Resume undoes Suspend.
	Resume(ctx context.Context, r Ref) error
}

// Watcher is implemented by targets that can tell of uses that they refused.
type Watcher interface {
	// Refused returns the clients whose use of a suspended credential the target refused
	// within the last so much time, or ErrUnsupported. It may return others that were
	// refused for the same account.
	Refused(ctx context.Context, r Ref, within time.Duration) ([]Session, error)
}

// Lister is implemented by targets that can list their credentials, to find
// those that no version refers to.
type Lister interface {
	// List returns the credentials under the names of this target with which a login
	// works. known are the versions whose values the store has: a server that keeps no
	// versions is compared with those. A credential of none of them has the version that
	// the server itself names, or "".
	List(ctx context.Context, known []secret.VersionID) ([]Credential, error)
}

// Credential is a credential that a target has.
type Credential struct {
	Ref

	// Remedy is how a person makes it invalid, such as a statement in the language of the
	// target. It holds no value and no hash of one, and is "" where the target has none.
	Remedy string
}

// Prober is implemented by targets that can try a value which they have not applied, such
// as that of a user that was there before.
type Prober interface {
	// Probe uses a value on every endpoint. It does not ask for what Apply gives the
	// credential besides the value, and does not wait for the lag. The error wraps ErrRefused if the target answered
	// and does not take the value, and ErrRejected if the value is none of this target.
	Probe(ctx context.Context, v secret.Value) error
	// Successor names the credential that the version after that of a value has.
	Successor(v secret.Value) (string, error)
}

// Try uses a value that may not have been applied: with [Prober.Probe], or with Verify
// where the target has none.
func Try(ctx context.Context, t Target, s secret.Spec, id secret.VersionID, v secret.Value) error {
	if p, ok := t.(Prober); ok {
		return secret.Scrub(p.Probe(ctx, v), v)
	}
	read := func(context.Context) (secret.Value, error) { return v, nil }
	return secret.Scrub(t.Verify(ctx, Change{Spec: s, To: id, Current: read, Pending: read}), v)
}

// Change is one move from a version to the next, as a target sees it.
type Change struct {
	// Spec is the secret.
	Spec secret.Spec
	// From is the current version, "" for none.
	From secret.VersionID
	// To is the pending version. It is "" in Propose.
	To secret.VersionID
	// Current and Pending read the values of From and To. They are functions so
	// that a target that needs neither costs no read. Their errors are those of
	// the store and have to be wrapped.
	Current, Pending func(ctx context.Context) (secret.Value, error)
}

// Ref names a credential at a target. It holds no value and stays valid after
// the value is gone.
type Ref struct {
	Secret  secret.ID
	Version secret.VersionID
	// Name is the target's own name for the credential, such as a role or a key
	// id. "" means that the target derives it from the secret and the version.
	Name string
}

// Drain says what Revoke does with sessions that were opened with the
// credential. The zero value leaves them open.
type Drain struct {
	// Wait is how long Revoke waits for the sessions to end.
	Wait time.Duration
	// Terminate ends the sessions that are open after Wait.
	Terminate bool
}

// Usage is the use of a credential, as far as the target can see it.
type Usage struct {
	// Sessions are the open sessions, for [InUseSessions].
	Sessions []Session
	// LastUsed is the last use that is known of, zero for none.
	LastUsed time.Time
}

// Session is one open session at a target.
type Session struct {
	// Client is the address of the client.
	Client string
	// Since is when the session was opened.
	Since time.Time
	// Program is what the client calls itself, "" if the target does not know.
	Program string
}

// Overlap says how many credentials of one secret can be valid at a time.
type Overlap string

// The overlaps.
const (
	// OverlapNone: the new value replaces the old one, with a gap between them.
	OverlapNone Overlap = "none"
	// OverlapDual: one account has room for two values.
	OverlapDual Overlap = "dual"
	// OverlapAlternate: two accounts are used in turns.
	OverlapAlternate Overlap = "alternate"
	// OverlapAny: any number of values is valid.
	OverlapAny Overlap = "any"
)

// InUse says what a target can tell about the use of a credential.
type InUse string

// What a target can tell.
const (
	// InUseUnknown: nothing.
	InUseUnknown InUse = ""
	// InUseLastUsed: the time of the last use.
	InUseLastUsed InUse = "last_used"
	// InUseSessions: the open sessions.
	InUseSessions InUse = "sessions"
)

// Capabilities are what a target can do.
type Capabilities struct {
	Overlap Overlap
	InUse   InUse
	// Lag is how long a change may take to reach every endpoint.
	Lag time.Duration
	// UseLag is how long a use may take until InUse shows it.
	UseLag time.Duration
	// Drains says whether Revoke honours its [Drain].
	Drains bool
	// Suspends says that a credential may be suspended before it is revoked. A Resume
	// that comes late, after Revoke, must not make its value valid again.
	Suspends bool
}
