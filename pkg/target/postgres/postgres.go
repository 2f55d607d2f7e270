// Package postgres makes values valid at a PostgreSQL server, version 14 or later.
//
// With [Alternating] the versions of a secret use two login roles in turns, USER and
// USER_clone. Both are members of one owner role and become it at login (ALTER ROLE …
// SET role), so that what either creates belongs to the owner: otherwise the next
// login role could not touch it. Two credentials are valid at a time. With [Single]
// there is one role, and the new value replaces the old one at once.
//
// The package sends no password in a statement, but a SCRAM verifier that it computes
// itself. What a server logs (log_statement = all, pg_stat_statements) is therefore
// the verifier, from which a password of the default policy cannot be recovered. A
// comment on each role names the secret and the version whose password it has, and
// since when.
//
// Revoking sets NOLOGIN and takes the password away. It never drops a role. Sessions
// outlive both, so [Target.InUse] looks at pg_stat_activity on every endpoint. Behind a
// pooler the sessions of the server are not those of the services: their use is
// unknown then.
package postgres

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

// Strategy says how many roles a secret has.
type Strategy = logins.Strategy

// The strategies.
const (
	// Alternating has two login roles in one owner role. It is the default.
	Alternating = logins.Alternating
	// Single has one role. Between Apply and the reload of a service its logins fail.
	Single = logins.Single
)

// ownerSuffix is what the name of the owner role has.
const ownerSuffix = "_owner"

// maxName is the length of the longest name, in bytes. The server cuts a longer one.
const maxName = 63

// Config says which roles of which server a [Target] manages.
type Config struct {
	// Endpoints are addresses as host:port. The first is the primary server, the
	// others are replicas of it, on which a new value has to work as well.
	Endpoints []string
	// Database is where the admin logs in, and values without a dbname. "" means
	// postgres.
	Database string
	// TLS secures every connection. Nil means none: the statements can be read on the
	// network then.
	TLS *tls.Config
	// Pooler says that services reach the server through a connection pooler.
	Pooler bool
	// Lag is how long a change takes to reach the replicas.
	Lag time.Duration
	// User is the login role, of a pair the first.
	User string
	// Owner is the role that both login roles become. "" means USER_owner.
	Owner string
	// Strategy is Alternating unless it is Single.
	Strategy Strategy
	// Admin returns the login of a role with the rights that Check asks for. It is
	// called for each session.
	Admin func(context.Context) (secret.Value, error)
	// Read returns the value of a version of the secret, "" for the current one. The
	// error wraps [target.ErrGone] if the store no longer has it.
	Read func(context.Context, secret.VersionID) (secret.Value, error)
}

// base has the methods that every target of logins has.
type base = logins.Base

// Target manages the roles of one secret. It keeps no connection.
type Target struct {
	base
	cfg      Config
	accounts *logins.Accounts[*pgx.Conn, time.Time]
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
	c.Owner, c.Strategy = cmp.Or(c.Owner, c.User+ownerSuffix), cmp.Or(c.Strategy, Alternating)
	t := &Target{cfg: c}
	common := logins.Config{
		Engine: "postgres", Endpoints: c.Endpoints, Database: c.Database, User: c.User, Strategy: c.Strategy, Lag: c.Lag, Admin: c.Admin, Read: c.Read, SingleOverlap: target.OverlapNone,
	}
	if c.Pooler {
		common.Blind = "services reach the server through a pooler, whose sessions are not theirs"
	}
	var err error
	t.accounts, err = logins.New(common, driver{t})
	t.base = t.accounts
	if err := errors.Join(err, CheckNames(c.User, c.Owner, c.Strategy)); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return t, nil
}

// CheckNames returns an error unless a server can have the roles of a target. An owner
// and a strategy may be "", as in [Config].
func CheckNames(user, owner string, s Strategy) error {
	owner, s = cmp.Or(owner, user+ownerSuffix), cmp.Or(s, Alternating)
	if err := logins.CheckStrategy(s); err != nil {
		return err
	}
	names := logins.Names(user, s)
	if s == Alternating {
		if slices.Contains(names, owner) {
			return errors.New("the owner role is a login role")
		}
		names = append(names, owner)
	}
	for _, name := range names {
		if len(name) > maxName || strings.ContainsRune(name, 0) || strings.HasPrefix(name, "pg_") || name == "public" || name == "none" {
			return fmt.Errorf("role %q: a name has at most %d bytes, does not begin with pg_, and is not public or none", name, maxName)
		}
	}
	return nil
}

// Apply implements [target.Target]. All that it changes is in one transaction.
func (t *Target) Apply(ctx context.Context, c target.Change) (target.Ref, error) {
	l, err := t.accounts.Pending(ctx, c)
	if err != nil {
		return target.Ref{}, err
	}
	hash, err := verifier(l.Password)
	if err != nil {
		return target.Ref{}, err
	}
	ref := target.Ref{Secret: c.Spec.ID, Version: c.To, Name: l.Username}
	err = (driver{t}).Change(ctx, func(conn *pgx.Conn) error { return t.set(ctx, conn, ref, hash) })
	if errors.Is(err, logins.ErrRefused) && (driver{t}).Login(ctx, t.cfg.Endpoints[0], l) == nil {
		return ref, nil // an admin that rotates itself has done so in an earlier call
	}
	return ref, secret.Scrub(err, secret.NewValue([]byte(hash)))
}

// set gives a role a password.
func (t *Target) set(ctx context.Context, conn *pgx.Conn, ref target.Ref, hash string) error {
	if err := t.ready(ctx, conn); err != nil {
		return err
	}
	notes, err := t.notes(ctx, conn)
	if err != nil {
		return err
	}
	n, exists := notes[ref.Name]
	if n.secret != "" && n.secret != ref.Secret {
		return fmt.Errorf("role %q has a password of secret %s; give each secret roles of its own", ref.Name, n.secret)
	}
	var own bool
	if err := conn.QueryRow(ctx, "SELECT current_user = $1", ref.Name).Scan(&own); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, passwordStatement(ref.Name, hash, exists, own)); err != nil {
		if s := sqlState(err); strings.HasPrefix(s, "22") || strings.HasPrefix(s, "28") {
			return fmt.Errorf("%w: %w", target.ErrRejected, err)
		}
		return err
	}
	var statements []string
	if t.cfg.Strategy == Alternating {
		statements = t.membership(ref.Name)
	}
	if n.version != ref.Version && !own {
		var now time.Time
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now); err != nil {
			return err
		}
		statements = append(statements, note{ref.Secret, ref.Version, now}.statement(ref.Name))
	}
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// passwordStatement sets a password. A role may change its own, and nothing else of
// itself, not even its comment.
func passwordStatement(role, hash string, exists, own bool) string {
	switch {
	case own:
		return fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", quote(role), hash)
	case exists:
		return fmt.Sprintf("ALTER ROLE %s LOGIN PASSWORD '%s'", quote(role), hash)
	default:
		return fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", quote(role), hash)
	}
}

// membership makes a login role become the owner.
func (t *Target) membership(role string) []string {
	return []string{
		fmt.Sprintf("GRANT %s TO %s", quote(t.cfg.Owner), quote(role)),
		fmt.Sprintf("ALTER ROLE %s SET role = %s", quote(role), quote(t.cfg.Owner)),
	}
}

// identify checks who the server takes the session for.
func (t *Target) identify(ctx context.Context, conn *pgx.Conn, user string) error {
	var session, current string
	if err := conn.QueryRow(ctx, "SELECT session_user, current_user").Scan(&session, &current); err != nil {
		return err
	}
	switch {
	case session != user:
		return fmt.Errorf("the server takes the session for that of %q", session)
	case t.cfg.Strategy == Alternating && current != t.cfg.Owner:
		return fmt.Errorf("%w: the session is that of %q acting as %q, not as the owner role %q", logins.ErrUnprepared, session, current, t.cfg.Owner)
	}
	return nil
}
