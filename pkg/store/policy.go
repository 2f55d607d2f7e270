package store

import (
	"context"
	"errors"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Broken reads a version of a secret and returns the rules of the secret's policy that
// its value breaks, by their codes. A secret that its store rotates has no policy but that
// of a whole value.
func (s *Store) Broken(ctx context.Context, spec secret.Spec, v secret.VersionID) ([]string, error) {
	_, value, err := s.Get(ctx, spec.StorePath(), Selector{Version: v})
	if err != nil {
		return nil, err
	}
	policy := spec.ValuePolicy()
	policy.Whole = policy.Whole || spec.Strategy == secret.StrategyExternal
	broken, _ := errors.AsType[*secret.ViolationError](policy.Check(value))
	if broken == nil {
		return nil, nil
	}
	var rules []string
	for _, f := range broken.Findings {
		rules = append(rules, string(f.Code))
	}
	return rules, nil
}
