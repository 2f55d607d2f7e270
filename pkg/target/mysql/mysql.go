// Package mysql makes values valid at a MariaDB server, version 10.4 or later, and at
// MySQL 8.
//
// With [Alternating] the versions of a secret use two accounts in turns, USER and
// USER_clone. Before an account takes over, it gets every grant that the other one has.
// With [Single] one account has two passwords at a time: MariaDB holds two hashes that
// are joined by OR, MySQL retains the current password until it is discarded.
//
// The package sends no password in a statement, but the hash that the server stores.
// Nothing else is written on the server: the account of a version is found by the hash
// of its value, and without a value by which account or hash is the current one.
//
// Revoking locks the account, or takes the hash away. It never drops an account.
// Sessions outlive both. The server names the account of a session, but not the
// password: with Single, who still uses the old one is unknown.
//
// The suite runs against MariaDB. What is said of MySQL is not proven on a real server.
package mysql

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

// Strategy says how many accounts a secret has.
type Strategy = logins.Strategy

// The strategies.
const (
	// Alternating has two accounts with the same grants. It is the default.
	Alternating = logins.Alternating
	// Single has one account with two passwords.
	Single = logins.Single
)

// maxName is the length of the longest name, in characters. A server with a lower
// limit refuses a longer one.
const maxName = 128

// Config says which accounts of which server a [Target] manages.
type Config struct {
	// Endpoints are addresses as host:port. The first is the primary server, the
	// others are replicas of it, on which a new value has to work as well.
	Endpoints []string
	// Database is where values without a dbname log in. "" means none.
	Database string
	// TLS secures every connection. Nil means none: the statements can be read on the
	// network then.
	TLS *tls.Config
	// Pooler says that services reach the server through a proxy such as ProxySQL.
	Pooler bool
	// Lag is how long a change takes to reach the replicas.
	Lag time.Duration
	// User is the name of the account, of a pair the first. It is changed for every
	// host that the server has it for.
	User string
	// Strategy is Alternating unless it is Single.
	Strategy Strategy
	// Admin returns the login of an account with the rights that Check asks for. It
	// is called for each session.
	Admin func(context.Context) (secret.Value, error)
	// Read returns the value of a version of the secret, "" for the current one. The
	// error wraps [target.ErrGone] if the store no longer has it.
	Read func(context.Context, secret.VersionID) (secret.Value, error)
}

// base has the methods that every target of logins has.
type base = logins.Base

// Target manages the accounts of one secret. It keeps no connection.
type Target struct {
	base
	cfg      Config
	accounts *logins.Accounts[*session, []account]
}

var (
	_ target.Target    = (*Target)(nil)
	_ target.Inspector = (*Target)(nil)
	_ target.Suspender = (*Target)(nil)
	_ target.Lister    = (*Target)(nil)
	_ target.Checker   = (*Target)(nil)
)

// New returns a Target. It makes no call.
func New(c Config) (*Target, error) {
	c.Strategy = cmp.Or(c.Strategy, Alternating)
	t := &Target{cfg: c}
	common := logins.Config{
		Engine: "mysql", Endpoints: c.Endpoints, Database: c.Database, User: c.User, Strategy: c.Strategy, Lag: c.Lag, Admin: c.Admin, Read: c.Read, SingleOverlap: target.OverlapDual,
	}
	switch {
	case c.Pooler:
		common.Blind = "services reach the server through a pooler, whose sessions are not theirs"
	case c.Strategy == Single:
		common.Blind = "the server does not say with which of two passwords a session was opened"
	}
	var err error
	t.accounts, err = logins.New(common, driver{t})
	t.base = t.accounts
	if err := errors.Join(err, CheckNames(c.User, c.Strategy)); err != nil {
		return nil, fmt.Errorf("mysql: %w", err)
	}
	return t, nil
}

// CheckNames returns an error unless a server can have the accounts of a target. A
// strategy may be "", as in [Config].
func CheckNames(user string, s Strategy) error {
	if err := logins.CheckStrategy(s); err != nil {
		return err
	}
	for _, name := range logins.Names(user, s) {
		if utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0) || strings.TrimRight(name, " ") != name {
			return fmt.Errorf("account %q: a name has at most %d characters, and no space at its end", name, maxName)
		}
	}
	return nil
}

// Apply implements [target.Target].
func (t *Target) Apply(ctx context.Context, c target.Change) (target.Ref, error) {
	l, err := t.accounts.Pending(ctx, c)
	if err != nil {
		return target.Ref{}, err
	}
	var current target.Login
	if t.cfg.Strategy == Single && c.From != "" {
		v, err := c.Current(ctx)
		if err != nil {
			return target.Ref{}, fmt.Errorf("read the current login: %w", err)
		}
		if current, err = t.accounts.Parse(v); err != nil {
			return target.Ref{}, fmt.Errorf("current version: %w", err)
		}
	}
	ref := target.Ref{Secret: c.Spec.ID, Version: c.To, Name: l.Username}
	return ref, (driver{t}).Change(ctx, func(s *session) error { return t.set(ctx, s, l, current.Password) })
}

// set gives an account a password, and leaves it a second one.
func (t *Target) set(ctx context.Context, s *session, l target.Login, second string) error {
	own, err := s.accounts(ctx, l.Username)
	if err != nil {
		return err
	}
	var sources []account
	if t.cfg.Strategy == Alternating {
		if sources, err = s.accounts(ctx, t.accounts.Other(l.Username)); err != nil {
			return err
		}
	}
	if own, err = s.create(ctx, l.Username, own, sources); err != nil {
		return err
	}
	for _, a := range sources {
		if err := s.replay(ctx, a, account{name: l.Username, host: a.host}); err != nil {
			return err
		}
	}
	for _, a := range own {
		if a.index(l.Password) >= 0 && !a.locked {
			continue // in an earlier call; a late one must not bring the second password back
		}
		if err := s.exec(ctx, "ALTER USER "+a.grantee()+s.passwords(l.Password, second)+" ACCOUNT UNLOCK"); err != nil {
			return err
		}
	}
	return nil
}

// Suspend implements [target.Suspender].
func (t *Target) Suspend(ctx context.Context, r target.Ref) error {
	if t.cfg.Strategy == Single {
		return t.removePassword(ctx, r)
	}
	return t.alter(ctx, r, func(*session, account) string { return " ACCOUNT LOCK" })
}

// Resume implements [target.Suspender].
func (t *Target) Resume(ctx context.Context, r target.Ref) error {
	if t.cfg.Strategy == Single {
		return t.restorePassword(ctx, r)
	}
	return t.alter(ctx, r, func(*session, account) string { return " ACCOUNT UNLOCK" })
}

// alter changes the account of a credential.
func (t *Target) alter(ctx context.Context, r target.Ref, clause func(*session, account) string) error {
	return t.accounts.Alter(ctx, r, func(s *session, c credential) error {
		for _, a := range c.State {
			if err := s.exec(ctx, "ALTER USER "+a.grantee()+clause(s, a)); err != nil {
				return err
			}
		}
		return nil
	})
}

// removePassword leaves an account with one of its two passwords.
func (t *Target) removePassword(ctx context.Context, r target.Ref) error {
	current, err := t.accounts.Current(ctx)
	if err != nil {
		return err
	}
	old, err := t.oldPassword(ctx, r)
	if err != nil {
		return err
	}
	if old == current.Password {
		return errors.New("it is the password of the current version")
	}
	return (driver{t}).Change(ctx, func(s *session) error {
		own, err := s.accounts(ctx, t.cfg.User)
		if err != nil {
			return err
		}
		for _, a := range own {
			i := a.index(old)
			if old == "" && len(a.hashes) > 1 && a.index(current.Password) == 0 {
				i = 1 // without its value: the newest password is the first, so the second is older than the current one
			}
			if i < 0 {
				continue
			}
			if err := s.exec(ctx, "ALTER USER "+a.grantee()+s.without(a, i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// oldPassword returns the password of a version, "" if its value is gone.
func (t *Target) oldPassword(ctx context.Context, r target.Ref) (string, error) {
	v, gone, err := target.ReadOld(ctx, t.cfg.Read, r.Version)
	if err != nil || gone {
		return "", err
	}
	l, err := t.accounts.Parse(v)
	return l.Password, err
}

// restorePassword undoes removePassword.
func (t *Target) restorePassword(ctx context.Context, r target.Ref) error {
	old, err := t.oldPassword(ctx, r)
	if err == nil && old == "" {
		err = target.ErrGone
	}
	if err != nil {
		return fmt.Errorf("restore the password of version %s: %w", r.Version, err)
	}
	current, err := t.accounts.Current(ctx)
	if err != nil {
		return err
	}
	return (driver{t}).Change(ctx, func(s *session) error {
		if !s.mariadb {
			return fmt.Errorf("%w: MySQL does not take a second password back", target.ErrUnsupported)
		}
		own, err := s.accounts(ctx, t.cfg.User)
		for _, a := range own {
			if err == nil && a.index(old) < 0 {
				err = s.exec(ctx, "ALTER USER "+a.grantee()+s.passwords(current.Password, old))
			}
		}
		return err
	})
}
