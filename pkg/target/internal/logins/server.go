package logins

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// Server is what a driver does at its server.
type Server interface {
	target.Inspector
	// Login opens a session at an endpoint, checks whose it is, and closes it. The
	// error wraps [ErrRefused] if the server refuses the user or the password.
	Login(ctx context.Context, endpoint string, l target.Login) error
	// Disable makes new logins with a credential fail, on every endpoint. It spares
	// the current version, and succeeds if the credential is unknown.
	Disable(ctx context.Context, r target.Ref) error
	// End tells an endpoint to end the sessions of a credential. It returns how many
	// were open.
	End(ctx context.Context, endpoint string, r target.Ref) (int, error)
}

// Verify logs in with the pending login on every endpoint.
func (a *Accounts) Verify(ctx context.Context, s Server, c target.Change) error {
	l, err := a.Pending(ctx, c)
	if err != nil {
		return err
	}
	return a.everywhere(ctx, func(endpoint string) error {
		if err := s.Login(ctx, endpoint, l); err != nil {
			return fmt.Errorf("log in at %s as %q: %w", endpoint, l.Username, err)
		}
		return nil
	})
}

// everywhere calls f for each endpoint until it succeeds, at most for the lag of the
// server.
func (a *Accounts) everywhere(ctx context.Context, f func(endpoint string) error) error {
	end := time.Now().Add(a.Lag)
	for _, endpoint := range a.Endpoints {
		for {
			err := f(endpoint)
			if err == nil {
				break
			}
			if !time.Now().Before(end) || !pause(ctx) {
				return err
			}
		}
	}
	return nil
}

// Revoke disables a credential, drains its sessions, and shows that its value is
// refused.
func (a *Accounts) Revoke(ctx context.Context, s Server, r target.Ref, d target.Drain) error {
	old, readErr := a.Read(ctx, r.Version)
	current, err := a.Read(ctx, "")
	if err != nil {
		return fmt.Errorf("read the current login: %w", err)
	}
	if readErr == nil && sameLogin(old, current) {
		return nil // a person had it become current again
	}
	if err := s.Disable(ctx, r); err != nil {
		return err
	}
	if d != (target.Drain{}) {
		if err := a.drain(ctx, s, r, d); err != nil {
			return err
		}
	}
	if readErr != nil {
		return nil //nolint:nilerr // the value is gone already, and Disable needs none
	}
	return a.tryRefused(ctx, s, old)
}

// sameLogin reports whether two documents log in with the same user and password.
func sameLogin(a, b secret.Value) bool {
	x, errX := target.ParseLogin(a)
	y, errY := target.ParseLogin(b)
	return errX == nil && errY == nil && x.Username == y.Username && secret.NewValue([]byte(x.Password)).Equal(secret.NewValue([]byte(y.Password)))
}

// tryRefused logs in with a revoked value on every endpoint, which has to fail.
func (a *Accounts) tryRefused(ctx context.Context, s Server, v secret.Value) error {
	l, err := target.ParseLogin(v)
	if err != nil {
		return err
	}
	return a.everywhere(ctx, func(endpoint string) error {
		err := s.Login(ctx, endpoint, l)
		if errors.Is(err, ErrRefused) {
			return nil
		}
		if err == nil {
			err = errors.New("the revoked value still works")
		}
		return fmt.Errorf("revoked version at %s: %w", endpoint, err)
	})
}

// drain waits for sessions to end, and ends them if that is asked for.
func (a *Accounts) drain(ctx context.Context, s Server, r target.Ref, d target.Drain) error {
	end := time.Now().Add(d.Wait)
	for {
		u, err := s.InUse(ctx, r)
		if err != nil || len(u.Sessions) == 0 {
			return err
		}
		if !time.Now().Before(end) {
			break
		}
		if !pause(ctx) {
			return fmt.Errorf("wait for %d sessions: %w", len(u.Sessions), ctx.Err())
		}
	}
	if !d.Terminate {
		return nil
	}
	for _, endpoint := range a.Endpoints {
		if err := endAll(ctx, s, endpoint, r); err != nil {
			return fmt.Errorf("end sessions at %s: %w", endpoint, err)
		}
	}
	return nil
}

// endAll ends the sessions at an endpoint and waits until they are gone: a server ends
// them after it has answered.
func endAll(ctx context.Context, s Server, endpoint string, r target.Ref) error {
	for {
		open, err := s.End(ctx, endpoint, r)
		if err != nil || open == 0 {
			return err
		}
		if !pause(ctx) {
			return ctx.Err()
		}
	}
}

// pause waits before the next try. It returns false once ctx has ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Second / 4):
		return true
	}
}
