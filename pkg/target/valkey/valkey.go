// Package valkey makes values valid at a Valkey or Redis server with access control
// lists, version 7 or later.
//
// With [Alternating] the versions of a secret use two users in turns, USER and
// USER_clone. Before a user takes over, it gets the rules of the other one. With
// [Single] one user has several passwords. The package sends the hash of a password
// that the server stores, never the password.
//
// Each node has an access control list of its own, replicas too: every change is made
// on every endpoint and saved to the file of the list. A node without such a file
// forgets the change when it restarts, so it is refused.
//
// Revoking takes the password away. Sessions outlive that. The server names the user of
// a session, but not the password: with Single, who still uses the old one is unknown.
package valkey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

// Strategy says how many users a secret has.
type Strategy = logins.Strategy

// The strategies.
const (
	// Alternating has two users with the same rules. It is the default.
	Alternating = logins.Alternating
	// Single has one user with several passwords.
	Single = logins.Single
)

// Config says which users of which servers a [Target] manages.
type Config struct {
	// Endpoints are the addresses of all nodes as host:port.
	Endpoints []string
	// TLS secures every connection. Nil means none: a host that can read the network
	// sees the passwords then.
	TLS *tls.Config
	// User is the name of the user, of a pair the first.
	User string
	// Strategy is Alternating unless it is Single.
	Strategy Strategy
	// Admin returns the login of a user with the permissions that Check asks for. It
	// is called for each session.
	Admin func(context.Context) (secret.Value, error)
	// Read returns the value of a version of the secret, "" for the current one. The
	// error wraps [target.ErrGone] if the store no longer has it.
	Read func(context.Context, secret.VersionID) (secret.Value, error)
}

// base has the methods that every target of logins has.
type base = logins.Base

// Target manages the users of one secret. It keeps no connection.
type Target struct {
	base
	cfg   Config
	users *logins.Accounts[*node, user]
}

var (
	_ target.Target    = (*Target)(nil)
	_ target.Inspector = (*Target)(nil)
	_ target.Suspender = (*Target)(nil)
	_ target.Watcher   = (*Target)(nil)
	_ target.Lister    = (*Target)(nil)
	_ target.Checker   = (*Target)(nil)
)

// New returns a Target. It makes no call.
func New(c Config) (*Target, error) {
	c.Strategy = cmp.Or(c.Strategy, Alternating)
	t := &Target{cfg: c}
	common := logins.Config{
		Engine: "valkey", Endpoints: c.Endpoints, User: c.User, Strategy: c.Strategy, Admin: c.Admin, Read: c.Read, SingleOverlap: target.OverlapAny,
	}
	if c.Strategy == Single {
		common.Blind = "the server does not say with which of several passwords a session was opened"
	}
	var err error
	t.users, err = logins.New(common, driver{t})
	t.base = t.users
	if err := errors.Join(err, CheckNames(c.User, c.Strategy)); err != nil {
		return nil, fmt.Errorf("valkey: %w", err)
	}
	return t, nil
}

// CheckNames returns an error unless a server can have the users of a target. A
// strategy may be "", as in [Config].
func CheckNames(user string, s Strategy) error {
	if !utf8.ValidString(user) || strings.ContainsFunc(user, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return fmt.Errorf("user %q: a name has no spaces and no control characters", user)
	}
	return logins.CheckStrategy(s)
}

// Apply implements [target.Target].
func (t *Target) Apply(ctx context.Context, c target.Change) (target.Ref, error) {
	l, err := t.users.Pending(ctx, c)
	if err != nil {
		return target.Ref{}, err
	}
	ref := target.Ref{Secret: c.Spec.ID, Version: c.To, Name: l.Username}
	return ref, t.users.Everywhere(ctx, func(n *node) error {
		if err := n.save(ctx); err != nil {
			return err // before anything is changed
		}
		u, err := n.user(ctx, l.Username)
		if err != nil {
			return err
		}
		hash := digest(l.Password)
		if u.on && slices.Contains(u.hashes, hash) {
			return nil // in an earlier call, and saved above
		}
		rules := []string{"on", "#" + hash}
		if t.cfg.Strategy == Alternating {
			other, err := n.user(ctx, t.users.Other(l.Username))
			if err != nil {
				return err
			}
			rules = slices.Concat(other.rules, []string{"resetpass"}, u.tombstones(), rules)
		}
		return n.setAndSave(ctx, l.Username, rules)
	})
}

// digest is what the server stores of a password.
func digest(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// grave is the beginning of a hash that no password is known for. A user keeps one in
// the place of a password that was taken away, so that a later call recognises it.
const grave = "00000000"

func tombstone(hash string) string { return grave + digest("revoked " + hash)[len(grave):] }

// user is a user as a node has it.
type user struct {
	exists, on bool
	hashes     []string // the oldest first
	rules      []string // what ACL SETUSER takes to give another user the same permissions
}

// tombstones returns the rule that remembers the last password of the user.
func (u user) tombstones() []string {
	if len(u.hashes) == 0 {
		return nil
	}
	last := u.hashes[len(u.hashes)-1]
	if !strings.HasPrefix(last, grave) {
		last = tombstone(last)
	}
	return []string{"#" + last}
}

// old returns which hashes of a user belong to a version and have to go: that of its
// value, or, without a value, those that are older than the current one.
func (t *Target) old(ctx context.Context, u user, r target.Ref) ([]string, error) {
	current, err := t.users.Current(ctx)
	if err != nil {
		return nil, err
	}
	v, gone, err := target.ReadOld(ctx, t.cfg.Read, r.Version)
	if err != nil {
		return nil, fmt.Errorf("read version %s: %w", r.Version, err)
	}
	if gone {
		return u.hashes[:max(0, slices.Index(u.hashes, digest(current.Password)))], nil
	}
	l, err := t.users.Parse(v)
	if err != nil {
		return nil, err
	}
	if l.Password == current.Password {
		return nil, errors.New("it is the password of the current version")
	}
	return []string{digest(l.Password)}, nil
}

// Suspend implements [target.Suspender].
func (t *Target) Suspend(ctx context.Context, r target.Ref) error {
	if t.cfg.Strategy == Single {
		return t.removePassword(ctx, r)
	}
	return t.alter(ctx, r, func(user) []string { return []string{"off"} })
}

// Resume implements [target.Suspender].
func (t *Target) Resume(ctx context.Context, r target.Ref) error {
	if t.cfg.Strategy == Alternating {
		return t.alter(ctx, r, func(user) []string { return []string{"on"} })
	}
	v, err := t.cfg.Read(ctx, r.Version)
	if err != nil {
		return fmt.Errorf("read version %s, to restore its password: %w", r.Version, err)
	}
	l, err := t.users.Parse(v)
	if err != nil {
		return err
	}
	return t.users.Everywhere(ctx, func(n *node) error {
		u, err := n.user(ctx, l.Username)
		if err != nil || slices.Contains(u.hashes, digest(l.Password)) {
			return err
		}
		rules := []string{"resetpass", "#" + digest(l.Password)} // the oldest first
		for _, h := range u.hashes {
			rules = append(rules, "#"+h)
		}
		return n.setAndSave(ctx, l.Username, rules)
	})
}

// removePassword takes a password from the user and leaves it the others.
func (t *Target) removePassword(ctx context.Context, r target.Ref) error {
	return t.users.Everywhere(ctx, func(n *node) error {
		u, err := n.user(ctx, t.cfg.User)
		if err != nil {
			return err
		}
		old, err := t.old(ctx, u, r)
		if err != nil {
			return err
		}
		var rules []string
		for _, h := range old {
			if slices.Contains(u.hashes, h) {
				rules = append(rules, "#"+h, "!"+h) // another worker may have removed it since
			}
		}
		if len(rules) == 0 {
			return n.save(ctx)
		}
		return n.setAndSave(ctx, t.cfg.User, rules)
	})
}

// alter changes the user of a credential on every node.
func (t *Target) alter(ctx context.Context, r target.Ref, rules func(user) []string) error {
	return t.users.Alter(ctx, r, func(n *node, c credential) error { return n.setAndSave(ctx, c.Name, rules(c.State)) })
}
