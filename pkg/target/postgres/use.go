package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tradepulse/rotator/pkg/secret"
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
		l, err := t.parse(v)
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
	rows, err := conn.Query(ctx, `SELECT pid, coalesce(host(client_addr) || ':' || client_port, 'local socket'), backend_start FROM pg_stat_activity
		WHERE usename = $1 AND pid <> pg_backend_pid() AND ($2::timestamptz IS NULL OR backend_start < $2) ORDER BY backend_start`, c.role, orNull(c.replaced))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s session, err error) {
		return s, row.Scan(&s.pid, &s.Client, &s.Since)
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
		if err := t.spare(ctx, c.role); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, fmt.Sprintf("ALTER ROLE %s %s", quote(c.role), options))
		return err
	})
}

// spare refuses to touch the role of the current version.
func (t *Target) spare(ctx context.Context, role string) error {
	v, err := t.cfg.Read(ctx, "")
	if err != nil {
		return fmt.Errorf("read the current login: %w", err)
	}
	l, err := target.ParseLogin(v)
	if err == nil && l.Username == role {
		err = fmt.Errorf("role %q is that of the current version", role)
	}
	return err
}

// Revoke implements [target.Target]: the role cannot log in and has no password, then
// its sessions drain, then the old value is tried.
func (t *Target) Revoke(ctx context.Context, r target.Ref, d target.Drain) error {
	old, readErr := t.cfg.Read(ctx, r.Version)
	current, err := t.cfg.Read(ctx, "")
	if err != nil {
		return fmt.Errorf("read the current login: %w", err)
	}
	if readErr == nil && sameLogin(old, current) {
		return nil // a person had it become current again
	}
	if err := t.alter(ctx, r, "NOLOGIN PASSWORD NULL"); err != nil {
		return err
	}
	if d != (target.Drain{}) {
		if err := t.drain(ctx, r, d); err != nil {
			return err
		}
	}
	if readErr != nil {
		return nil //nolint:nilerr // the value is gone already; the role has no password
	}
	return t.tryRefused(ctx, old)
}

// sameLogin reports whether two documents log in with the same user and password.
func sameLogin(a, b secret.Value) bool {
	x, errX := target.ParseLogin(a)
	y, errY := target.ParseLogin(b)
	return errX == nil && errY == nil && x.Username == y.Username && secret.NewValue([]byte(x.Password)).Equal(secret.NewValue([]byte(y.Password)))
}

// tryRefused logs in with a revoked value on every endpoint, which has to fail.
func (t *Target) tryRefused(ctx context.Context, v secret.Value) error {
	l, err := target.ParseLogin(v)
	if err != nil {
		return err
	}
	end := time.Now().Add(t.cfg.Lag)
	for _, endpoint := range t.cfg.Endpoints {
		for {
			err := t.login(ctx, endpoint, l, func(*pgx.Conn) error { return nil })
			if errors.Is(err, errRefused) {
				break
			}
			if err == nil {
				err = errors.New("the revoked value still works")
			}
			if !time.Now().Before(end) || !pause(ctx) {
				return fmt.Errorf("revoked version at %s: %w", endpoint, err)
			}
		}
	}
	return nil
}

// drain waits for sessions to end, and ends them if that is asked for.
func (t *Target) drain(ctx context.Context, r target.Ref, d target.Drain) error {
	end := time.Now().Add(d.Wait)
	for {
		u, err := t.InUse(ctx, r)
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
	for _, endpoint := range t.cfg.Endpoints {
		if err := t.asAdmin(ctx, endpoint, func(conn *pgx.Conn) error { return t.terminate(ctx, conn, r) }); err != nil {
			return fmt.Errorf("end sessions at %s: %w", endpoint, err)
		}
	}
	return nil
}

func (t *Target) terminate(ctx context.Context, conn *pgx.Conn, r target.Ref) error {
	c, err := t.locate(ctx, conn, r)
	if err != nil || c.role == "" {
		return err
	}
	open, err := t.sessions(ctx, conn, c)
	if err != nil {
		return err
	}
	for _, s := range open {
		if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend($1)", s.pid); err != nil {
			return err
		}
	}
	for len(open) > 0 { // the server ends them after it has answered
		if !pause(ctx) {
			return ctx.Err()
		}
		if open, err = t.sessions(ctx, conn, c); err != nil {
			return err
		}
	}
	return nil
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
