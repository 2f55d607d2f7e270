package target

import (
	"context"
	"fmt"
	"io"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ValueOnly is the target of a secret whose value has to be valid nowhere but in
// its store, such as a signing key: services accept a value because the store
// holds it. It applies and revokes nothing.
type ValueOnly struct {
	// Random is the source of values. Nil means crypto/rand.
	Random io.Reader
}

var _ Target = ValueOnly{}

// Capabilities implements [Target].
func (ValueOnly) Capabilities() Capabilities { return Capabilities{Overlap: OverlapAny} }

// Propose implements [Target] by [ByPolicy].
func (t ValueOnly) Propose(ctx context.Context, c Change) (secret.Value, error) {
	return ByPolicy(ctx, t.Random, c)
}

// Apply implements [Target]. It does nothing.
func (ValueOnly) Apply(_ context.Context, c Change) (Ref, error) {
	return Ref{Secret: c.Spec.ID, Version: c.To}, nil
}

// Verify implements [Target]. It does nothing: the rotation checks the policy.
func (ValueOnly) Verify(context.Context, Change) error { return nil }

// Revoke implements [Target]. It does nothing: the store retires the value.
func (ValueOnly) Revoke(context.Context, Ref, Drain) error { return nil }

// ByPolicy returns the next value by the secret's policy alone. With
// [secret.Policy.Field] that is the current document with one field changed. A nil
// random means crypto/rand.
func ByPolicy(ctx context.Context, random io.Reader, c Change) (secret.Value, error) {
	policy := c.Spec.ValuePolicy()
	if policy.Field == "" {
		return policy.Generate(random)
	}
	current, err := c.Current(ctx)
	if err != nil {
		return secret.Value{}, fmt.Errorf("read the document whose field %s is rotated: %w", policy.Field, err)
	}
	return policy.Next(random, current)
}
