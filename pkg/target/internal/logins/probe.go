package logins

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// ErrUnprepared is wrapped by the error of a login that works and has not what Apply gives
// an account besides the password.
var ErrUnprepared = errors.New("the account is not prepared for rotations")

// Probe implements [target.Prober]. It does not wait for the lag: nothing was changed.
func (a *Accounts[S, K]) Probe(ctx context.Context, v secret.Value) error {
	l, err := a.Parse(v)
	if err != nil {
		return fmt.Errorf("%w: %w", target.ErrRejected, err)
	}
	for _, endpoint := range a.Endpoints {
		if err := a.driver.Login(ctx, endpoint, l); err != nil && !errors.Is(err, ErrUnprepared) {
			return fmt.Errorf("log in at %s as %q: %w", endpoint, l.Username, err)
		}
	}
	return nil
}

// Successor implements [target.Prober].
func (c *Config) Successor(v secret.Value) (string, error) {
	l, err := c.Parse(v)
	return c.Other(l.Username), err
}
