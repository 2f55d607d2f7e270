package secret

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// DefaultRefreshMargin is how long before its end a version counts as near
// expiry unless a [Spec] says otherwise.
const DefaultRefreshMargin = 5 * time.Minute

// RetireMode says what becomes of the value of a version that is retired.
type RetireMode string

// What a store does with a retired version. Every mode takes its stage away.
const (
	// RetireDelete removes the value in the way the store can undo, where it
	// has one (Vault soft delete). It is the zero value's meaning.
	RetireDelete RetireMode = "delete"
	// RetireKeep leaves the value readable by version id, so that what an old
	// signing key signed can still be verified.
	RetireKeep RetireMode = "keep"
	// RetireDestroy removes the value for good.
	RetireDestroy RetireMode = "destroy"
	// RetireLater takes the stage away and leaves the value: the version is to be
	// revoked, and retired in another mode after that. It is not configured.
	RetireLater RetireMode = "later"
)

// RolloutMode says when a new version starts to be used.
type RolloutMode string

// How a new version reaches its services.
const (
	// RolloutActivate promotes at once and then tells the services. It is the
	// zero value's meaning.
	RolloutActivate RolloutMode = "activate"
	// RolloutPrepare lets every instance load the pending version for
	// verification before it is promoted and signs anything.
	RolloutPrepare RolloutMode = "prepare-then-activate"
)

// Strategy says who rotates a secret.
type Strategy string

// Who rotates.
const (
	// StrategyGenerate makes a value and writes it. It is the zero value's
	// meaning.
	StrategyGenerate Strategy = "generate"
	// StrategyExternal triggers the rotation that is configured in the store, such
	// as a Lambda function of AWS, and follows it. The policy and the target are
	// those of that function.
	StrategyExternal Strategy = "external"
)

// ParseStrategy returns the strategy of that name. The error for a name of
// earlier versions gives the new one.
func ParseStrategy(text string) (Strategy, error) {
	switch s := Strategy(text); s {
	case StrategyGenerate, StrategyExternal:
		return s, nil
	case "managed":
		return "", fmt.Errorf("strategy %q is called %s now", text, StrategyExternal)
	default:
		return "", fmt.Errorf("strategy %s is unknown, use %s or %s", quote(text), StrategyGenerate, StrategyExternal)
	}
}

// Spec is what is wanted of one secret. The zero value of every field but ID
// and Store has a meaning; [Spec.Validate] checks them together.
type Spec struct {
	// ID is the name that applications use.
	ID ID
	// Store names the configured store that holds the secret.
	Store string
	// Path is the store's own name for it; "" means the ID.
	Path string
	// Owner is the person or team that answers for the secret, Purpose says in a few
	// words what it is for, and Contact is where to reach the owner. Nothing but people
	// reads them; see [ValidNote].
	Owner, Purpose, Contact string
	// TTL is the lifetime of a version. 0 takes the lifetime that the store
	// records; a secret with neither is never rotated by schedule.
	TTL time.Duration
	// RefreshMargin is how long before its end a version counts as near expiry.
	// 0 means DefaultRefreshMargin, negative means none.
	RefreshMargin time.Duration
	// MaxJitter bounds how much earlier than the margin demands a version may
	// be rotated, to spread secrets that were created together. 0 means a tenth
	// of what is left of the TTL after the margin, negative means none.
	MaxJitter time.Duration
	// Windows are the only times at which a scheduled rotation may start; none
	// means any time.
	Windows []Window
	// Freezes are the times in which no scheduled rotation starts, of all secrets: see
	// [Spec.Thaw].
	Freezes []*Freeze
	// Strategy says who rotates the secret.
	Strategy Strategy
	// Policy is what a value has to satisfy; nil means DefaultPolicy.
	Policy *Policy
	// Services are the subscribers that have to run a new version before the
	// old one is retired. Instances that report the secret without being
	// listed count as well.
	Services []string
	// Proof is what else the retirement of a version rests on.
	Proof Proof
	// Rollout says when a new version starts to be used.
	Rollout RolloutMode
	// Grace is how long after every instance runs the new version the previous
	// one is kept. 0 means DefaultGrace, negative means none.
	Grace time.Duration
	// Deadline is how long a rollout may take before it counts as stalled. 0
	// means DefaultRolloutDeadline, negative means never.
	Deadline time.Duration
	// Fence is how long an instance may use a version that it cannot confirm. It
	// also is the least time between a promotion and the retirement of the version
	// before. 0 means DefaultFence, and at most a quarter of the TTL.
	Fence time.Duration
	// Retire says what becomes of a retired version's value.
	Retire RetireMode
	// Drain says how the use of older versions ends at the target.
	Drain Drain
	// Create lets a rotation make the secret when the store does not know it
	// yet. Leave it off where a misspelt path must not become a new secret.
	Create bool
	// Disabled stops scheduled rotation of the secret; rotating by hand works.
	Disabled bool
}

const (
	// DefaultGrace is [Spec.Grace] unless a spec says otherwise.
	DefaultGrace = 5 * time.Minute
	// DefaultRolloutDeadline is [Spec.Deadline] unless a spec says otherwise.
	DefaultRolloutDeadline = 15 * time.Minute
	// DefaultFence is [Spec.Fence] unless a spec says otherwise.
	DefaultFence = time.Hour
)

// ErrInvalidSpec is wrapped by the errors of [Spec.Validate].
var ErrInvalidSpec = errors.New("invalid secret spec")

// StorePath returns the name under which the store knows the secret.
func (s Spec) StorePath() string { return cmp.Or(s.Path, string(s.ID)) }

// Margin returns the refresh margin in force.
func (s Spec) Margin() time.Duration { return orDefault(s.RefreshMargin, DefaultRefreshMargin) }

// GracePeriod returns the grace period in force.
func (s Spec) GracePeriod() time.Duration { return orDefault(s.Grace, DefaultGrace) }

// RolloutDeadline returns the deadline in force; 0 means never.
func (s Spec) RolloutDeadline() time.Duration { return orDefault(s.Deadline, DefaultRolloutDeadline) }

// FencePeriod returns the fence in force: what the spec says, else DefaultFence,
// or a quarter of the TTL where that is less.
func (s Spec) FencePeriod() time.Duration {
	switch {
	case s.Fence > 0:
		return s.Fence
	case s.TTL > 0:
		return min(DefaultFence, s.TTL/4)
	default:
		return DefaultFence
	}
}

// RetireMode returns the retire mode in force.
func (s Spec) RetireMode() RetireMode { return cmp.Or(s.Retire, RetireDelete) }

// RolloutMode returns the rollout mode in force.
func (s Spec) RolloutMode() RolloutMode { return cmp.Or(s.Rollout, RolloutActivate) }

// ValuePolicy returns the policy in force.
func (s Spec) ValuePolicy() Policy {
	p := DefaultPolicy()
	if s.Policy != nil {
		p = *s.Policy
	}
	if s.ID == AdminTokenID {
		p.Use = cmp.Or(p.Use, UseToken)
	}
	return p
}

// Token returns the token of the rotation away from the version from.
func (s Spec) Token(from VersionID, attempt int) Token {
	return NewToken(s.ID, from, s.ValuePolicy().Hash(), attempt)
}

// MaxAttempts bounds the attempts for which a token is derived, see
// [NewToken]. A version that is withdrawn uses one up for good, until another version
// is current.
const MaxAttempts = 16

// Made reports whether a token is that of a rotation of ours away from the
// version from, whichever attempt it was.
func (s Spec) Made(from VersionID, t Token) bool {
	for n := range MaxAttempts {
		if t != "" && t == s.Token(from, n) {
			return true
		}
	}
	return false
}

// Lifetime returns how long a version of the secret lives: the spec's TTL, else
// the store's, else 0 for "without end".
func (s Spec) Lifetime(m Metadata) time.Duration { return cmp.Or(s.TTL, m.TTL) }

// ErrNoWindow is returned by [Spec.RotateAt] when no rotation window opens in
// the life of the version.
var ErrNoWindow = errors.New("no rotation window before expiry")

// RotateAt returns the moment from which the current version counts as near
// expiry: NotAfter − margin − jitter, moved into the last window that opens
// before it. The jitter is derived from the secret's id and the version, so
// that every replica and every check finds the same moment. The zero Time
// means never: there is no current version, or it has no end. The error wraps
// [ErrNoWindow]; the time beside it is the one that ignores the windows.
func (s Spec) RotateAt(m Metadata) (time.Time, error) {
	d, err := s.Due(m)
	return d.At, err
}

// orDefault reads a duration setting: 0 is the default, negative is none.
func orDefault(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return 0
	default:
		return d
	}
}
