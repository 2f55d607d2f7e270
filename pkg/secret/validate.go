package secret

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Validate returns every reason why the spec cannot be carried out, each
// wrapping [ErrInvalidSpec].
func (s Spec) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w %s: %w", ErrInvalidSpec, s.ID, fmt.Errorf(format, args...)))
	}
	if err := s.ID.Validate(); err != nil {
		bad("%w", err)
	}
	if s.Store == "" {
		bad("no store is named")
	}
	if s.Path != "" {
		if err := ID(s.Path).Validate(); err != nil {
			bad("path: %w", err)
		}
	}
	if s.TTL < 0 {
		bad("the TTL is negative")
	}
	if s.TTL > 0 && s.Margin() >= s.TTL {
		bad("the refresh margin %s is not shorter than the TTL %s", s.Margin(), s.TTL)
	}
	if s.Fence < 0 {
		bad("the fence is negative: leave it out for the default")
	}
	if s.TTL > 0 && s.Fence > s.TTL/4 {
		bad("the fence %s is longer than a quarter of the TTL %s: set it to %s or less, or leave it out", s.Fence, s.TTL, s.TTL/4)
	}
	if err := s.ValuePolicy().Validate(); err != nil {
		bad("%w", err)
	}
	if slices.Contains(s.Windows, Window{}) {
		bad("a window is empty, make it with ParseWindow")
	}
	for _, service := range s.Services {
		if err := ValidName(service); err != nil {
			bad("service %w", err)
		}
	}
	s.validateProof(bad)
	s.validateNotes(bad)
	if !slices.Contains([]RolloutMode{"", RolloutActivate, RolloutPrepare}, s.Rollout) {
		bad("rollout %q is unknown, use %s or %s", s.Rollout, RolloutActivate, RolloutPrepare)
	}
	if !slices.Contains([]DrainMode{"", DrainWait, DrainEndIdle, DrainEndAll}, s.Drain.Mode) {
		bad("drain %q is unknown, use %s, %s or %s", s.Drain.Mode, DrainWait, DrainEndIdle, DrainEndAll)
	}
	if _, err := ParseStrategy(string(cmp.Or(s.Strategy, StrategyGenerate))); err != nil {
		bad("%w", err)
	}
	if s.Strategy == StrategyExternal && (s.Create || s.Rollout == RolloutPrepare) {
		bad("with strategy %s the store makes and promotes the versions: leave out create and rollout %s", StrategyExternal, RolloutPrepare)
	}
	if !slices.Contains([]RetireMode{RetireDelete, RetireKeep, RetireDestroy}, s.RetireMode()) {
		bad("retire %q is unknown, use %s, %s or %s", s.Retire, RetireDelete, RetireKeep, RetireDestroy)
	}
	return errors.Join(errs...)
}

// ValidName returns an error unless s can be the name of a service: 1 to 64
// letters, digits, '_' and '-'.
func ValidName(s string) error {
	if s == "" || len(s) > 64 {
		return fmt.Errorf("%s has %d characters, want 1 to 64", quote(s), len(s))
	}
	for i := range len(s) {
		if !plain(s[i]) {
			return fmt.Errorf("%q has %q, use letters, digits, _ and -", s, s[i])
		}
	}
	return nil
}
