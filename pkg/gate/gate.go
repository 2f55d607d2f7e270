// Package gate checks that secrets are fit for use before anything depends on
// them: each is there, its value satisfies its policy, and enough of its life is
// left. It says all that is wrong at once, each with what to do about it.
//
// [Run] puts it in front of the tests of a package, and rotator policy check is
// the same as a command. The package reads values to look at them, and nothing of
// one is in what it returns. It changes nothing, writes no event, and chooses no
// store: the caller says where to read.
package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// The identifiers that are required where nothing else is said.
const (
	AuditSecretID secret.ID = "TRADEPULSE_AUDIT_SECRET_ID"
	AdminTokenID            = secret.AdminTokenID
)

// The least lifetime that has to be left of them where nothing else is said.
const (
	AuditSecretMinTTL = time.Hour
	AdminTokenMinTTL  = 30 * time.Minute
)

// maxReads bounds how many secrets are read at once.
const maxReads = 8

// Reader is where a secret is read; a *store.Store and every store.Driver is
// one.
type Reader interface {
	Describe(ctx context.Context, path string) (secret.Metadata, error)
	Get(ctx context.Context, path string, sel store.Selector) (secret.Version, secret.Value, error)
}

// Secret is a secret that has to be fit for use.
type Secret struct {
	// Spec names it. Its path, TTL and policy count; the rest does not.
	Spec secret.Spec
	// Reader is where it is. Nil means that it is not configured, which is a
	// violation.
	Reader Reader
	// MinTTL is the floor: more than this has to be left of its life. 0 means
	// AuditSecretMinTTL and AdminTokenMinTTL for these two and none for others,
	// negative means none. A version without an end is above every floor.
	MinTTL time.Duration
}

// Required returns the two identifiers that are required where nothing else is
// said, with the default policy and the default floors.
func Required(r Reader) []Secret {
	return []Secret{
		{Spec: secret.Spec{ID: AuditSecretID}, Reader: r},
		{Spec: secret.Spec{ID: AdminTokenID}, Reader: r},
	}
}

// FromSpecs returns the secrets with these specs, each to be read from its store,
// in the order of the ids.
func FromSpecs(stores *store.Set, specs []secret.Spec) ([]Secret, error) {
	out := make([]Secret, 0, len(specs))
	for _, spec := range specs {
		st, ok := stores.Get(spec.Store)
		if !ok {
			return nil, fmt.Errorf("gate: %s names the store %q, which is not configured", spec.ID, spec.Store)
		}
		out = append(out, Secret{Spec: spec, Reader: st})
	}
	slices.SortFunc(out, func(a, b Secret) int { return cmp.Compare(a.Spec.ID, b.Spec.ID) })
	return out, nil
}

// Select returns the secrets with the given IDs, in that order, or all if there
// are none. One that is not among all is read from r with the default policy; a
// nil r makes it one that is not configured.
func Select(all []Secret, r Reader, ids []secret.ID) []Secret {
	if len(ids) == 0 {
		return all
	}
	byID := make(map[secret.ID]Secret, len(all))
	for _, s := range all {
		byID[s.Spec.ID] = s
	}
	out := make([]Secret, len(ids))
	for i, id := range ids {
		s, ok := byID[id]
		if !ok {
			s = Secret{Spec: secret.Spec{ID: id}, Reader: r}
		}
		out[i] = s
	}
	return out
}

func (s Secret) floor() time.Duration {
	switch {
	case s.MinTTL != 0:
		return max(0, s.MinTTL)
	case s.Spec.ID == AuditSecretID:
		return AuditSecretMinTTL
	case s.Spec.ID == AdminTokenID:
		return AdminTokenMinTTL
	default:
		return 0
	}
}

// Check reads the secrets and returns everything that is wrong with them, in
// their order. The Subject of a finding is the ID of the secret, and its Code one
// of this package or a rule of [secret.ViolationError].
func Check(ctx context.Context, now time.Time, secrets []Secret) []secret.Finding {
	found := make([][]secret.Finding, len(secrets))
	var g errgroup.Group
	g.SetLimit(maxReads)
	for i, s := range secrets {
		g.Go(func() error {
			found[i] = s.check(ctx, now)
			return nil
		})
	}
	_ = g.Wait() // what went wrong is among the violations
	var out []secret.Finding
	for _, v := range found {
		out = append(out, v...)
	}
	return out
}

func (s Secret) check(ctx context.Context, now time.Time) []secret.Finding {
	if s.Reader == nil {
		return []secret.Finding{violation(s.Spec.ID, CodeMissing, "it is not configured", "add it under secrets: in the configuration")}
	}
	v, val, err := s.Reader.Get(ctx, s.Spec.StorePath(), store.Selector{})
	if err != nil && !errors.Is(err, store.ErrLifetime) {
		return []secret.Finding{unreadable(s.Spec.ID, err)}
	}
	out := s.complexity(val)
	if err != nil {
		return append(out, lifetime(s.Spec.ID, err))
	}
	var m secret.Metadata
	if s.Spec.TTL <= 0 && v.NotAfter.IsZero() { // some stores have one lifetime for all versions of a secret
		if m, err = s.Reader.Describe(ctx, s.Spec.StorePath()); errors.Is(err, store.ErrLifetime) {
			return append(out, lifetime(s.Spec.ID, err))
		} else if err != nil {
			return append(out, unreadable(s.Spec.ID, err))
		}
	}
	return append(out, s.remaining(now, s.Spec.NotAfter(m, v))...)
}

// complexity returns the rules of the policy that the value breaks.
func (s Secret) complexity(val secret.Value) []secret.Finding {
	policy := s.Spec.ValuePolicy()
	policy.Whole = policy.Whole || s.Spec.Strategy == secret.StrategyExternal // its store decides what it is
	broken, ok := errors.AsType[*secret.ViolationError](policy.Check(val))
	if !ok {
		return nil
	}
	out := broken.Findings
	for i := range out {
		out[i].Subject = string(s.Spec.ID)
	}
	return out
}

// remaining compares what is left until end with the floor.
func (s Secret) remaining(now, end time.Time) []secret.Finding {
	floor, left := s.floor(), end.Sub(now)
	if end.IsZero() || left > floor {
		return nil
	}
	problem := fmt.Sprintf("%s of its life are left, and it has to be more than %s", left.Truncate(time.Second), floor)
	if left <= 0 {
		problem = "its life ended " + end.UTC().Format(time.RFC3339)
	}
	return []secret.Finding{violation(s.Spec.ID, CodeTTL, problem, "rotate it, or give it a longer lifetime")}
}
