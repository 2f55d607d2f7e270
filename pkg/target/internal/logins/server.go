package logins

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// Driver is what is particular to one kind of server. S is a session of the admin, K
// what else the driver knows of a credential.
type Driver[S, K any] interface {
	// Session opens a session of the admin at an endpoint, runs f in it, and closes it.
	// If the server denies something, the error names what the admin lacks (see [Lacks]).
	Session(ctx context.Context, endpoint string, l target.Login, f func(S) error) error
	// Change runs f in each session in which an account has to be changed, one worker
	// at a time.
	Change(ctx context.Context, f func(S) error) error
	// Locate returns what a reference stands for at the server of a session.
	Locate(ctx context.Context, s S, r target.Ref) (Credential[K], error)
	// Sessions returns those of a credential. The error wraps [ErrReused] if the server
	// does not tell them from those of a later version of the account.
	Sessions(ctx context.Context, s S, c Credential[K]) ([]Session, error)
	// End tells the server to end a session. One that has ended is a success.
	End(ctx context.Context, s S, id int64) error
	// Disable makes new logins with a credential fail, on every endpoint. It spares
	// the current version, and succeeds if the credential is unknown.
	Disable(ctx context.Context, r target.Ref) error
	// Login opens a session at an endpoint, checks whose it is, and closes it. The
	// error wraps [ErrRefused] if the server refuses the user or the password.
	Login(ctx context.Context, endpoint string, l target.Login) error
}

// Credential is what a reference stands for.
type Credential[K any] struct {
	// Name is the account, "" for none.
	Name string
	// Replaced says that the account has had the password of another version since.
	Replaced bool
	// State is what the driver knows of the account.
	State K
}

// Session is an open session and the number that it has at its server. Busy says that
// it is in a transaction, or in a command.
type Session struct {
	target.Session
	ID   int64
	Busy bool
}

// ErrReused says that whose sessions an account has is unknown.
var ErrReused = fmt.Errorf("%w: the account was given to another version", target.ErrUnsupported)

// Accounts are the accounts of one secret at a server with one or more endpoints.
type Accounts[S, K any] struct {
	Config
	driver Driver[S, K]
}

// New returns accounts. It makes no call.
func New[S, K any](c Config, d Driver[S, K]) (*Accounts[S, K], error) {
	return &Accounts[S, K]{c, d}, c.check()
}

// Base is what [Accounts] implements of a target. A driver embeds it.
type Base interface {
	target.Inspector
	target.Ender
	target.Prober
	Capabilities() target.Capabilities
	Propose(ctx context.Context, c target.Change) (secret.Value, error)
	Verify(ctx context.Context, c target.Change) error
	Revoke(ctx context.Context, r target.Ref, d target.Drain) error
}

// AsAdmin runs f in a session of the admin at an endpoint.
func (a *Accounts[S, K]) AsAdmin(ctx context.Context, endpoint string, f func(S) error) error {
	v, err := a.Admin(ctx)
	if err != nil {
		return fmt.Errorf("read the admin secret: %w", err)
	}
	l, err := target.ParseLogin(v)
	if err != nil {
		return fmt.Errorf("admin secret: %w", err)
	}
	in := false
	err = a.driver.Session(ctx, endpoint, l, func(s S) error {
		in = true
		return f(s)
	})
	switch {
	case err != nil && !in:
		err = fmt.Errorf("log in as admin at %s: %w", endpoint, err)
	case err != nil:
		err = fmt.Errorf("at %s: %w", endpoint, err)
	}
	return secret.Scrub(err, v)
}

// Everywhere runs f in a session of the admin at each endpoint, one after the other.
func (a *Accounts[S, K]) Everywhere(ctx context.Context, f func(S) error) error {
	for _, endpoint := range a.Endpoints {
		if err := a.AsAdmin(ctx, endpoint, f); err != nil {
			return err
		}
	}
	return nil
}

// Lacks returns an error that names the first of the rights that the admin lacks, nil
// for none.
func Lacks(rights []string, err error) error {
	if err != nil || len(rights) == 0 {
		return err
	}
	return errors.New("the admin lacks " + rights[0])
}

// Alter runs f on the account of a credential, unless it has the password of another
// version, or of the current one.
func (a *Accounts[S, K]) Alter(ctx context.Context, r target.Ref, f func(S, Credential[K]) error) error {
	return a.driver.Change(ctx, func(s S) error {
		c, err := a.driver.Locate(ctx, s, r)
		if err != nil || c.Name == "" || c.Replaced {
			return err
		}
		if err := a.Spare(ctx, c.Name); err != nil {
			return err
		}
		return f(s, c)
	})
}

// InUse implements [target.Inspector]: the sessions of a credential on every endpoint.
func (a *Accounts[S, K]) InUse(ctx context.Context, r target.Ref) (target.Usage, error) {
	if a.Blind != "" {
		return target.Usage{}, fmt.Errorf("%w: %s", target.ErrUnsupported, a.Blind)
	}
	var out target.Usage
	err := a.Everywhere(ctx, func(s S) error {
		found, err := a.sessions(ctx, s, r)
		for _, f := range found {
			out.Sessions = append(out.Sessions, f.Session)
		}
		return err
	})
	if err != nil {
		return target.Usage{}, err
	}
	return out, nil
}

// End implements [target.Ender].
func (a *Accounts[S, K]) End(ctx context.Context, r target.Ref, idle bool) error {
	if a.Blind != "" {
		return fmt.Errorf("%w: %s", target.ErrUnsupported, a.Blind)
	}
	for _, endpoint := range a.Endpoints {
		if err := a.endAll(ctx, endpoint, r, idle); err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
	}
	return nil
}

func (a *Accounts[S, K]) sessions(ctx context.Context, s S, r target.Ref) ([]Session, error) {
	c, err := a.driver.Locate(ctx, s, r)
	if err != nil || c.Name == "" {
		return nil, err
	}
	return a.driver.Sessions(ctx, s, c)
}

// Verify implements [target.Target]: it logs in with the pending login on every
// endpoint.
func (a *Accounts[S, K]) Verify(ctx context.Context, c target.Change) error {
	l, err := a.Pending(ctx, c)
	if err != nil {
		return err
	}
	return a.withinLag(ctx, func(endpoint string) error {
		if err := a.driver.Login(ctx, endpoint, l); err != nil {
			return fmt.Errorf("log in at %s as %q: %w", endpoint, l.Username, err)
		}
		return nil
	})
}

// withinLag calls f for each endpoint until it succeeds, at most for the lag of the
// server.
func (a *Accounts[S, K]) withinLag(ctx context.Context, f func(endpoint string) error) error {
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

// Revoke implements [target.Target]: it disables a credential, drains its sessions, and
// shows that its value is refused.
func (a *Accounts[S, K]) Revoke(ctx context.Context, r target.Ref, d target.Drain) error {
	old, gone, err := target.ReadOld(ctx, a.Read, r.Version)
	if err != nil {
		return fmt.Errorf("read version %s: %w", r.Version, err)
	}
	current, err := a.Read(ctx, "")
	if err != nil {
		return fmt.Errorf("read the current login: %w", err)
	}
	if !gone && sameLogin(old, current) {
		return nil // a person had it become current again
	}
	if err := a.driver.Disable(ctx, r); err != nil {
		return err
	}
	if d != (target.Drain{}) && a.Blind == "" {
		if err := a.drain(ctx, r, d); err != nil {
			return err
		}
	}
	if gone {
		return nil // without the old value no login can be tried
	}
	return a.tryRefused(ctx, old)
}

// sameLogin reports whether two documents log in with the same user and password.
func sameLogin(a, b secret.Value) bool {
	x, errX := target.ParseLogin(a)
	y, errY := target.ParseLogin(b)
	return errX == nil && errY == nil && x.Username == y.Username && secret.NewValue([]byte(x.Password)).Equal(secret.NewValue([]byte(y.Password)))
}

// tryRefused logs in with a revoked value on every endpoint, which has to fail.
func (a *Accounts[S, K]) tryRefused(ctx context.Context, v secret.Value) error {
	l, err := target.ParseLogin(v)
	if err != nil {
		return err
	}
	return a.withinLag(ctx, func(endpoint string) error {
		err := a.driver.Login(ctx, endpoint, l)
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
func (a *Accounts[S, K]) drain(ctx context.Context, r target.Ref, d target.Drain) error {
	end := time.Now().Add(d.Wait)
	for {
		u, err := a.InUse(ctx, r)
		if errors.Is(err, ErrReused) {
			return nil // nothing is known to be a session of the credential
		}
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
	return a.End(ctx, r, false)
}

// endAll ends the sessions at an endpoint and waits until they are gone: a server ends
// them after it has answered.
func (a *Accounts[S, K]) endAll(ctx context.Context, endpoint string, r target.Ref, idle bool) error {
	for {
		open := 0
		err := a.AsAdmin(ctx, endpoint, func(s S) error {
			found, err := a.sessions(ctx, s, r)
			if idle {
				found = slices.DeleteFunc(found, func(f Session) bool { return f.Busy })
			}
			open = len(found)
			for _, f := range found {
				err = errors.Join(err, a.driver.End(ctx, s, f.ID))
			}
			return err
		})
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
