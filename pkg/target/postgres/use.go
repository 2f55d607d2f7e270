package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tradepulse/rotator/pkg/target"
)

// credential is what a [target.Ref] stands for.
type credential struct {
	role string // "" for none
	// replaced is when the role got the password of another version, zero if the
	// credential is still the role's own.
	replaced time.Time
}

// locate finds the role of a reference: by the notes on the roles, by its name, or by
// the value of its version.
func (t *Target) locate(ctx context.Context, q querier, r target.Ref) (credential, error) {
	notes, err := t.notes(ctx, q)
	if err != nil {
		return credential{}, err
	}
	for role, n := range notes {
		if n.secret == r.Secret && n.version == r.Version {
			return credential{role: role}, nil
		}
	}
	role := r.Name
	if role == "" {
		v, err := t.cfg.Read(ctx, r.Version)
		if err != nil {
			return credential{}, fmt.Errorf("read which role version %s uses: %w", r.Version, err)
		}
		l, err := t.accounts.Parse(v)
		if err != nil {
			return credential{}, fmt.Errorf("version %s: %w", r.Version, err)
		}
		role = l.Username
	}
	n, exists := notes[role]
	if !exists {
		return credential{}, nil
	}
	if n.since.IsZero() && t.cfg.Strategy == Single {
		n.since = time.Now() // an admin that rotates itself writes no note; its old password is replaced all the same
	}
	return credential{role, n.since}, nil
}

// InUse implements [target.Inspector]: the sessions of the role on every endpoint, of
// a credential that was replaced those that are older than that.
func (t *Target) InUse(ctx context.Context, r target.Ref) (target.Usage, error) {
	if t.cfg.Pooler {
		return target.Usage{}, fmt.Errorf("%w: services reach the server through a pooler, whose sessions are not theirs", target.ErrUnsupported)
	}
	var out target.Usage
	for _, endpoint := range t.cfg.Endpoints {
		err := t.asAdmin(ctx, endpoint, func(conn *pgx.Conn) error {
			c, err := t.locate(ctx, conn, r)
			if err != nil || c.role == "" {
				return err
			}
			found, err := t.sessions(ctx, conn, c)
			for _, s := range found {
				out.Sessions = append(out.Sessions, s.Session)
			}
			return err
		})
		if err != nil {
			return target.Usage{}, fmt.Errorf("sessions at %s: %w", endpoint, err)
		}
	}
	return out, nil
}

type session struct {
	target.Session
	pid int32
}

func (t *Target) sessions(ctx context.Context, conn *pgx.Conn, c credential) ([]session, error) {
	var pid uint32
	var sees bool
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid(), pg_has_role('pg_read_all_stats', 'USAGE')").Scan(&pid, &sees); err != nil {
		return nil, err
	}
	switch {
	case pid != conn.PgConn().PID():
		return nil, fmt.Errorf("%w: the endpoint is a pooler, whose sessions are not those of services", target.ErrUnsupported)
	case !sees:
		return nil, errors.New("the admin lacks membership in pg_read_all_stats: 'GRANT pg_read_all_stats TO <admin>'")
	}
	rows, err := conn.Query(ctx, `SELECT pid, coalesce(host(client_addr) || ':' || client_port, 'local socket'), coalesce(application_name, ''), backend_start FROM pg_stat_activity
		WHERE usename = $1 AND pid <> pg_backend_pid() AND ($2::timestamptz IS NULL OR backend_start < $2) ORDER BY backend_start`, c.role, orNull(c.replaced))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s session, err error) {
		return s, row.Scan(&s.pid, &s.Client, &s.Program, &s.Since)
	})
}

func orNull(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// Suspend implements [target.Suspender]. A credential that was replaced cannot log in
// already.
func (t *Target) Suspend(ctx context.Context, r target.Ref) error {
	return t.alter(ctx, r, "NOLOGIN")
}

// Resume implements [target.Suspender].
func (t *Target) Resume(ctx context.Context, r target.Ref) error {
	return t.alter(ctx, r, "LOGIN")
}

// alter changes the role of a credential that is its own.
func (t *Target) alter(ctx context.Context, r target.Ref, options string) error {
	return t.change(ctx, func(tx pgx.Tx) error {
		c, err := t.locate(ctx, tx, r)
		if err != nil || c.role == "" || !c.replaced.IsZero() {
			return err
		}
		if err := t.accounts.Spare(ctx, c.role); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, fmt.Sprintf("ALTER ROLE %s %s", quote(c.role), options))
		return err
	})
}

// Revoke implements [target.Target]: the role cannot log in and has no password, then
// its sessions drain, then the old value is tried.
func (t *Target) Revoke(ctx context.Context, r target.Ref, d target.Drain) error {
	return t.accounts.Revoke(ctx, server{t}, r, d)
}

// server is what [logins.Accounts] needs of a target.
type server struct{ *Target }

// Login implements [logins.Server].
func (s server) Login(ctx context.Context, endpoint string, l target.Login) error {
	return s.login(ctx, endpoint, l)
}

// Disable implements [logins.Server].
func (s server) Disable(ctx context.Context, r target.Ref) error {
	return s.alter(ctx, r, "NOLOGIN PASSWORD NULL")
}

// End implements [logins.Server].
func (s server) End(ctx context.Context, endpoint string, r target.Ref) (open int, err error) {
	err = s.asAdmin(ctx, endpoint, func(conn *pgx.Conn) error {
		c, err := s.locate(ctx, conn, r)
		if err != nil || c.role == "" {
			return err
		}
		found, err := s.sessions(ctx, conn, c)
		if err != nil {
			return err
		}
		open = len(found)
		for _, f := range found {
			if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend($1)", f.pid); err != nil {
				return err
			}
		}
		return nil
	})
	return open, err
}

// List implements [target.Lister]: the login roles that exist.
func (t *Target) List(ctx context.Context) ([]target.Ref, error) {
	var out []target.Ref
	err := t.asAdmin(ctx, t.cfg.Endpoints[0], func(conn *pgx.Conn) error {
		notes, err := t.notes(ctx, conn)
		for role, n := range notes {
			out = append(out, target.Ref{Secret: n.secret, Version: n.version, Name: role})
		}
		return err
	})
	slices.SortFunc(out, func(a, b target.Ref) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}
