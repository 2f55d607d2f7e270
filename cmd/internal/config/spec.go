package config

import (
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Specs returns what is wanted of each secret, in the order of the file.
func (c *Config) Specs() ([]secret.Spec, error) {
	out := make([]secret.Spec, 0, len(c.Secrets))
	for i, s := range c.Secrets {
		spec, err := c.spec(s)
		if err == nil {
			err = spec.Validate()
		}
		if err != nil {
			return nil, fmt.Errorf("secrets[%d]: %w", i, err)
		}
		out = append(out, spec)
	}
	return out, nil
}

// Unlisted returns what is wanted of a secret that the configuration does not
// list: what its defaults say. Its id is the name that the store knows it by.
func (c *Config) Unlisted(name, store string) (secret.Spec, error) {
	s := Secret{ID: name, Path: name, Settings: c.Defaults}
	s.Store = store
	spec, err := c.spec(s)
	if err == nil {
		err = spec.Validate()
	}
	return spec, err
}

// Floors returns the least lifetime that the policy check wants left of each
// secret, negative for none; those that do not say are not in it.
func (c *Config) Floors() map[secret.ID]time.Duration {
	out := map[secret.ID]time.Duration{}
	for _, s := range c.Secrets {
		if s.MinTTL != 0 {
			out[secret.ID(s.ID)] = time.Duration(s.MinTTL)
		}
	}
	return out
}

func (c *Config) spec(s Secret) (secret.Spec, error) {
	services, proof := c.proof(s.Settings)
	out := secret.Spec{
		ID:            secret.ID(s.ID),
		Store:         s.Store,
		Path:          s.Path,
		Owner:         s.Owner,
		Purpose:       s.Purpose,
		Contact:       s.Contact,
		TTL:           max(0, time.Duration(s.TTL)),
		RefreshMargin: time.Duration(s.RefreshMargin),
		MaxJitter:     time.Duration(s.MaxJitter),
		Strategy:      secret.Strategy(s.Strategy),
		Services:      services,
		Proof:         c.withTarget(proof, s.Target),
		Rollout:       secret.RolloutMode(s.Rollout),
		Grace:         time.Duration(s.Grace),
		Deadline:      time.Duration(s.Deadline),
		Fence:         time.Duration(s.Fence),
		Retire:        secret.RetireMode(s.Retire),
		Drain:         secret.Drain{Mode: secret.DrainMode(s.Target.Drain), Deadline: time.Duration(s.Target.DrainDeadline), Soak: time.Duration(s.Target.Soak)},
		Create:        s.Create != nil && *s.Create,
		Disabled:      s.Disabled != nil && *s.Disabled,
	}
	for i, w := range s.Windows {
		win, err := w.window()
		if err != nil {
			return secret.Spec{}, fmt.Errorf("windows[%d]: %w", i, err)
		}
		out.Windows = append(out.Windows, win)
	}
	var err error
	if out.Freezes, err = c.allFreezes(); err != nil {
		return secret.Spec{}, err
	}
	if out.Policy, err = c.policy(s.Policy); err == nil && s.Target.Name != "" {
		out.Policy = c.Targets[s.Target.Name].policy(out.Policy)
	}
	return out, err
}

// policy returns the policy that a secret refers to, nil for the default.
func (c *Config) policy(ref *PolicyRef) (*secret.Policy, error) {
	if ref == nil {
		return nil, nil
	}
	p := ref.Policy
	if p == nil {
		named, ok := c.Policies[ref.Name]
		if !ok {
			return nil, fmt.Errorf("policy: there is no policy %q", ref.Name)
		}
		p = &named
	}
	out := p.policy()
	return &out, nil
}
