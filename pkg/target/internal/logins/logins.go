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

// ErrRefused marks a login that the server refuses by its user or password. It survives
// [secret.Scrub], which takes the type of an error away.
var ErrRefused = errors.New("login refused")

// Accounts are the accounts of one secret at a server with one or more endpoints.
type Accounts struct {
	// Engine is the word for the server in a first document.
	Engine string
	// Endpoints are addresses as host:port.
	Endpoints []string
	// Database is that of a first document.
	Database string
	// User is the account, of a pair the first.
	User string
	// Strategy is Alternating unless it is Single.
	Strategy Strategy
	// Lag is how long a change takes to reach every endpoint.
	Lag time.Duration
	// Read returns the value of a version of the secret, "" for the current one.
	Read func(context.Context, secret.VersionID) (secret.Value, error)
}

// Check returns an error unless the fields are complete.
func (a *Accounts) Check() error {
	if len(a.Endpoints) == 0 || a.Read == nil || a.User == "" {
		return errors.New("the configuration needs Endpoints, Admin, Read and User")
	}
	return CheckStrategy(a.Strategy)
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
func (a *Accounts) Names() []string { return Names(a.User, a.Strategy) }

// Propose returns the current document with the name of the other account and a fresh
// password, or a first document.
func (a *Accounts) Propose(ctx context.Context, c target.Change) (secret.Value, error) {
	policy := c.Spec.ValuePolicy()
	policy.Field = field
	if c.From == "" {
		doc, err := a.firstDocument()
		if err != nil {
			return secret.Value{}, err
		}
		return policy.Next(nil, doc)
	}
	current, err := c.Current(ctx)
	if err != nil {
		return secret.Value{}, fmt.Errorf("read the current login: %w", err)
	}
	l, err := a.Parse(current)
	if err != nil {
		return secret.Value{}, fmt.Errorf("current version: %w", err)
	}
	next, err := current.WithField("/username", a.Other(l.Username))
	if err != nil {
		return secret.Value{}, err
	}
	return policy.Next(nil, next)
}

func (a *Accounts) firstDocument() (secret.Value, error) {
	host, port, err := net.SplitHostPort(a.Endpoints[0])
	if err != nil {
		return secret.Value{}, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return secret.Value{}, fmt.Errorf("endpoint %s: %w", a.Endpoints[0], err)
	}
	return target.Login{Engine: a.Engine, Host: host, Port: n, Username: a.User, DBName: a.Database}.Document()
}

// Other returns the account whose turn it is after user.
func (a *Accounts) Other(user string) string {
	names := a.Names()
	return names[(slices.Index(names, user)+1)%len(names)]
}

// Parse reads a login. An account that is not one of this target is refused: a value
// must not direct the rights of the admin to another account.
func (a *Accounts) Parse(v secret.Value) (target.Login, error) {
	l, err := target.ParseLogin(v)
	if err == nil && !slices.Contains(a.Names(), l.Username) {
		err = fmt.Errorf("user name %q is not %s, as the target is configured", l.Username, strings.Join(a.Names(), " or "))
	}
	return l, err
}

// Pending reads the pending login.
func (a *Accounts) Pending(ctx context.Context, c target.Change) (target.Login, error) {
	v, err := c.Pending(ctx)
	if err != nil {
		return target.Login{}, fmt.Errorf("read the pending login: %w", err)
	}
	l, err := a.Parse(v)
	if err != nil {
		return l, fmt.Errorf("%w: pending version: %w", target.ErrRejected, err)
	}
	return l, nil
}

// Current reads the current login.
func (a *Accounts) Current(ctx context.Context) (target.Login, error) {
	v, err := a.Read(ctx, "")
	if err != nil {
		return target.Login{}, fmt.Errorf("read the current login: %w", err)
	}
	return target.ParseLogin(v)
}

// Spare returns an error for the account of the current version, which must not be
// disabled.
func (a *Accounts) Spare(ctx context.Context, user string) error {
	l, err := a.Current(ctx)
	if err == nil && l.Username == user {
		err = fmt.Errorf("account %q is that of the current version", user)
	}
	return err
}
