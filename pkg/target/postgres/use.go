package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

type credential = logins.Credential[time.Time] // the state is since when the role has its password

// Locate implements [logins.Driver]: it finds the role by the notes on the roles, by its
// name, or by the value of its version.
func (d driver) Locate(ctx context.Context, conn *pgx.Conn, r target.Ref) (credential, error) {
	notes, err := d.notes(ctx, conn)
	if err != nil {
		return credential{}, err
	}
	for role, n := range notes {
		if n.secret == r.Secret && n.version == r.Version {
			return credential{Name: role}, nil
		}
	}
	role := r.Name
	if role == "" {
		if role, err = d.roleOf(ctx, r.Version); err != nil {
			return credential{}, err
		}
	}
	n, exists := notes[role]
	if !exists {
		return credential{}, nil
	}
	if n.since.IsZero() && d.cfg.Strategy == Single {
		n.since = time.Now() // an admin that rotates itself writes no note; its old password is replaced all the same
	}
	return credential{Name: role, Replaced: !n.since.IsZero(), State: n.since}, nil
}

// roleOf returns the role of a version by its value, or, without one, the role that is
// not the current one.
func (d driver) roleOf(ctx context.Context, version secret.VersionID) (string, error) {
	v, gone, err := target.ReadOld(ctx, d.cfg.Read, version)
	if err != nil {
		return "", fmt.Errorf("read which role version %s uses: %w", version, err)
	}
	if gone {
		current, err := d.accounts.Current(ctx)
		return d.accounts.Other(current.Username), err
	}
	l, err := d.accounts.Parse(v)
	if err != nil {
		return "", fmt.Errorf("version %s: %w", version, err)
	}
	return l.Username, nil
}

// Sessions implements [logins.Driver]: of a credential that was replaced those that are
// older than that.
func (d driver) Sessions(ctx context.Context, conn *pgx.Conn, c credential) ([]logins.Session, error) {
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
	rows, err := conn.Query(ctx, `SELECT pid, coalesce(host(client_addr) || ':' || client_port, 'local socket'), coalesce(application_name, ''), backend_start, state IS DISTINCT FROM 'idle' FROM pg_stat_activity
		WHERE usename = $1 AND pid <> pg_backend_pid() AND ($2::timestamptz IS NULL OR backend_start < $2) ORDER BY backend_start`, c.Name, orNull(c.State))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s logins.Session, err error) {
		return s, row.Scan(&s.ID, &s.Client, &s.Program, &s.Since, &s.Busy)
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

// Disable implements [logins.Driver].
func (d driver) Disable(ctx context.Context, r target.Ref) error {
	return d.alter(ctx, r, "NOLOGIN PASSWORD NULL")
}

func (t *Target) alter(ctx context.Context, r target.Ref, options string) error {
	return t.accounts.Alter(ctx, r, func(conn *pgx.Conn, c credential) error {
		_, err := conn.Exec(ctx, fmt.Sprintf("ALTER ROLE %s %s", quote(c.Name), options))
		return err
	})
}

// End implements [logins.Driver].
func (driver) End(ctx context.Context, conn *pgx.Conn, id int64) error {
	_, err := conn.Exec(ctx, "SELECT pg_terminate_backend($1::int)", id)
	return err
}
