// Package logins has what the targets of database servers share: a value is a login,
// its user name is one of the accounts of the target, and a login is verified and
// revoked on every endpoint.
package logins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// Strategy says how many accounts a secret has.
type Strategy string

// The strategies.
const (
	// Alternating has two accounts that are used in turns. It is the default.
	Alternating Strategy = "alternating"
	// Single has one account.
	Single Strategy = "single"
)

// CloneSuffix is what the name of the second account of a pair has, as in the rotation
// templates of AWS.
const CloneSuffix = "_clone"

// field is the field of a login that is rotated.
const field = "/password"

// ErrRefused marks a login that the server refuses by its user or password.
var ErrRefused = target.ErrRefused

// Config says which accounts a target has.
type Config struct {
	// Engine is the word for the server in a first document.
	Engine string
	// Endpoints are addresses as host:port. The first is the primary server.
	Endpoints []string
	// Database is that of a first document.
	Database string
	// User is the account, of a pair the first.
	User string
	// Strategy is Alternating unless it is Single.
	Strategy Strategy
	// Lag is how long a change takes to reach every endpoint.
	Lag time.Duration
	// Admin returns the login of the admin. It is called for each session.
	Admin func(context.Context) (secret.Value, error)
	// Read returns the value of a version of the secret, "" for the current one. The
	// error wraps [target.ErrGone] if the value was removed.
	Read func(context.Context, secret.VersionID) (secret.Value, error)
	// SingleOverlap is the overlap of an account that is not one of a pair.
	SingleOverlap target.Overlap
	// Blind is why the sessions of a credential are unknown, "" if they are known.
	Blind string
}

func (c *Config) check() error {
	if len(c.Endpoints) == 0 || c.Admin == nil || c.Read == nil || c.User == "" {
		return errors.New("the configuration needs Endpoints, Admin, Read and User")
	}
	return CheckStrategy(c.Strategy)
}

// CheckStrategy returns an error unless a strategy is known or "".
func CheckStrategy(s Strategy) error {
	if s = cmp.Or(s, Alternating); s != Alternating && s != Single {
		return fmt.Errorf("strategy %q: use %s or %s", s, Alternating, Single)
	}
	return nil
}

// Names returns the names of the accounts of a user.
func Names(user string, s Strategy) []string {
	if s == Single {
		return []string{user}
	}
	return []string{user, user + CloneSuffix}
}

// Names returns the names of the accounts.
func (c *Config) Names() []string { return Names(c.User, c.Strategy) }

// Capabilities implements [target.Target].
func (c *Config) Capabilities() target.Capabilities {
	out := target.Capabilities{Overlap: target.OverlapAlternate, InUse: target.InUseSessions, Lag: c.Lag, Drains: true, Suspends: true}
	if c.Strategy == Single {
		out.Overlap, out.Suspends = c.SingleOverlap, false // what was suspended is a password, which a late Resume would restore
	}
	if c.Blind != "" {
		out.InUse, out.Drains = target.InUseUnknown, false
	}
	return out
}

// Propose implements [target.Target]: the current document with the name of the other
// account and a fresh password, or a first document.
func (c *Config) Propose(ctx context.Context, change target.Change) (secret.Value, error) {
	policy := change.Spec.ValuePolicy()
	policy.Field = field
	if change.From == "" {
		doc, err := c.firstDocument()
		if err != nil {
			return secret.Value{}, err
		}
		return policy.Next(nil, doc)
	}
	current, err := change.Current(ctx)
	if err != nil {
		return secret.Value{}, fmt.Errorf("read the current login: %w", err)
	}
	l, err := c.Parse(current)
	if err != nil {
		return secret.Value{}, fmt.Errorf("current version: %w", err)
	}
	next, err := current.WithField("/username", c.Other(l.Username))
	if err != nil {
		return secret.Value{}, err
	}
	return policy.Next(nil, next)
}

func (c *Config) firstDocument() (secret.Value, error) {
	host, port, err := net.SplitHostPort(c.Endpoints[0])
	if err != nil {
		return secret.Value{}, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return secret.Value{}, fmt.Errorf("endpoint %s: %w", c.Endpoints[0], err)
	}
	return target.Login{Engine: c.Engine, Host: host, Port: n, Username: c.User, DBName: c.Database}.Document()
}

// Other returns the account whose turn it is after user.
func (c *Config) Other(user string) string {
	names := c.Names()
	return names[(slices.Index(names, user)+1)%len(names)]
}

// Parse reads a login. An account that is not one of this target is refused: a value
// must not direct the rights of the admin to another account.
func (c *Config) Parse(v secret.Value) (target.Login, error) {
	l, err := target.ParseLogin(v)
	if err == nil && !slices.Contains(c.Names(), l.Username) {
		err = fmt.Errorf("user name %q is not %s, as the target is configured", l.Username, strings.Join(c.Names(), " or "))
	}
	return l, err
}

// Pending reads the pending login.
func (c *Config) Pending(ctx context.Context, change target.Change) (target.Login, error) {
	v, err := change.Pending(ctx)
	if err != nil {
		return target.Login{}, fmt.Errorf("read the pending login: %w", err)
	}
	l, err := c.Parse(v)
	if err != nil {
		return l, fmt.Errorf("%w: pending version: %w", target.ErrRejected, err)
	}
	return l, nil
}

// Current reads the current login.
func (c *Config) Current(ctx context.Context) (target.Login, error) {
	v, err := c.Read(ctx, "")
	if err != nil {
		return target.Login{}, fmt.Errorf("read the current login: %w", err)
	}
	return target.ParseLogin(v)
}

// Spare returns an error for the account of the current version, which must not be
// disabled.
func (c *Config) Spare(ctx context.Context, user string) error {
	l, err := c.Current(ctx)
	if err == nil && l.Username == user {
		err = fmt.Errorf("%w: account %q is that of the current version", target.ErrCurrent, user)
	}
	return err
}
