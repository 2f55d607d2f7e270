package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

// rights select a text for each right that the admin lacks, in the order in which a
// person should grant them. The parameter is the roles of the target.
var rights = []string{
	`SELECT format('attribute CREATEROLE: ''ALTER ROLE %I CREATEROLE''', current_user) FROM pg_roles
		WHERE rolname = current_user AND NOT rolcreaterole AND NOT rolsuper AND cardinality($1::text[]) > 0`,
	`SELECT format('ADMIN OPTION on role %I: ''GRANT %I TO %I WITH ADMIN OPTION''', rolname, rolname, current_user) FROM pg_roles
		WHERE rolname = ANY($1::text[]) AND current_setting('server_version_num')::int >= 160000 AND NOT rolname = current_user
		AND NOT pg_has_role(oid, 'MEMBER WITH ADMIN OPTION') ORDER BY rolname`,
	`SELECT format('attribute SUPERUSER, which role %I has: take it away with ''ALTER ROLE %I NOSUPERUSER''', rolname, rolname) FROM pg_roles
		WHERE rolname = ANY($1::text[]) AND rolsuper AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) ORDER BY rolname`,
	`SELECT format('membership in pg_read_all_stats, to see sessions: ''GRANT pg_read_all_stats TO %I''', current_user)
		WHERE NOT pg_has_role('pg_read_all_stats', 'USAGE') AND cardinality($1::text[]) > 0`,
	`SELECT format('membership in pg_signal_backend, to end sessions: ''GRANT pg_signal_backend TO %I''', current_user)
		WHERE NOT pg_has_role('pg_signal_backend', 'USAGE') AND cardinality($1::text[]) > 0`,
}

func (t *Target) roles() []string {
	if t.cfg.Strategy == Single {
		return t.accounts.Names()
	}
	return append(t.accounts.Names(), t.cfg.Owner)
}

// missing returns the rights that the admin lacks.
func (t *Target) missing(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	var out []string
	for _, r := range rights {
		found, err := texts(ctx, conn, r, t.roles())
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func texts(ctx context.Context, conn *pgx.Conn, sql string, args ...any) ([]string, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// ready refuses to apply a value while services would break after the switch to the
// other role: what that cannot touch belongs to a login role in place of the owner.
func (t *Target) ready(ctx context.Context, conn *pgx.Conn) error {
	if t.cfg.Strategy == Single {
		return nil
	}
	traps, err := t.traps(ctx, conn)
	if err != nil || len(traps) == 0 {
		return err
	}
	return fmt.Errorf("%s; run the SQL that 'rotator target check' prints", strings.Join(traps, "; "))
}

// traps returns why services would break after a switch of the role.
func (t *Target) traps(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	var owner bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", t.cfg.Owner).Scan(&owner); err != nil {
		return nil, err
	}
	if !owner {
		return []string{fmt.Sprintf("there is no owner role %q", t.cfg.Owner)}, nil
	}
	unset, err := texts(ctx, conn, `SELECT format('role %I does not become %I at login', r.rolname, $2::text) FROM pg_roles r WHERE rolname = ANY($1::text[])
		AND rolname = $3 AND NOT EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0 AND 'role=' || $2 = ANY(s.setconfig))`,
		t.accounts.Names(), t.cfg.Owner, t.cfg.User)
	if err != nil {
		return nil, err
	}
	owned, err := texts(ctx, conn, `SELECT format('ownership trap: role %I owns %s objects in database %I, which the other role could not touch', rolname, count(*), coalesce(datname, '(all)'))
		FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid LEFT JOIN pg_database b ON b.oid = d.dbid
		WHERE refclassid = 'pg_authid'::regclass AND deptype = 'o' AND rolname = ANY($1::text[]) GROUP BY rolname, datname ORDER BY 1`, t.accounts.Names())
	return append(unset, owned...), err
}

// Check implements [target.Checker].
func (t *Target) Check(ctx context.Context) (target.Report, error) {
	r := target.Report{Plan: t.plan()}
	err := t.accounts.AsAdmin(ctx, t.cfg.Endpoints[0], func(conn *pgx.Conn) (err error) {
		if err := conn.QueryRow(ctx, "SELECT 'PostgreSQL ' || current_setting('server_version'), current_user::text").Scan(&r.Server, &r.Admin); err != nil {
			return err
		}
		if r.Missing, err = t.missing(ctx, conn); err != nil || t.cfg.Strategy == Single {
			return err
		}
		if r.Traps, err = t.traps(ctx, conn); err == nil && len(r.Traps) > 0 {
			r.Setup, err = t.setup(ctx, conn)
		}
		if err != nil {
			return err
		}
		r.Notes, err = texts(ctx, conn, `SELECT format('%s objects in database %I are granted to role %I; grant them to %I', count(*), coalesce(datname, '(all)'), rolname, $2::text)
			FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid LEFT JOIN pg_database b ON b.oid = d.dbid
			WHERE refclassid = 'pg_authid'::regclass AND deptype = 'a' AND rolname = ANY($1::text[]) GROUP BY rolname, datname ORDER BY 1`, t.accounts.Names(), t.cfg.Owner)
		return err
	})
	if t.cfg.Pooler {
		r.Notes = append(r.Notes, "services reach the server through a pooler: who is logged in is unknown")
	}
	return r, err
}

// plan is what a rotation does.
func (t *Target) plan() []string {
	role := quote(t.cfg.User)
	if t.cfg.Strategy == Single {
		return []string{
			fmt.Sprintf("ALTER ROLE %s LOGIN PASSWORD '<SCRAM verifier of the new password>'; logins with the old one fail from then on", role),
			fmt.Sprintf("COMMENT ON ROLE %s IS '<secret and version>'", role),
		}
	}
	clone := quote(t.cfg.User + logins.CloneSuffix)
	out := []string{fmt.Sprintf("CREATE ROLE %s, or ALTER ROLE %s and %s in turns: LOGIN PASSWORD '<SCRAM verifier of the new password>'", clone, role, clone)}
	out = append(out, t.membership(t.cfg.User+logins.CloneSuffix)...)
	return append(out, fmt.Sprintf("COMMENT ON ROLE %s IS '<secret and version>'", clone),
		fmt.Sprintf("after every service uses the new role and no session of the old one is open: ALTER ROLE %s NOLOGIN PASSWORD NULL", role))
}

// setup is what a person runs once, as a superuser, before the first rotation.
func (t *Target) setup(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	exists, err := texts(ctx, conn, "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1::text[])", t.roles())
	if err != nil {
		return nil, err
	}
	var out []string
	if !slices.Contains(exists, t.cfg.Owner) {
		out = append(out, fmt.Sprintf("CREATE ROLE %s NOLOGIN;", quote(t.cfg.Owner)))
	}
	for _, role := range t.accounts.Names() {
		if !slices.Contains(exists, role) {
			continue
		}
		for _, s := range t.membership(role) {
			out = append(out, s+";")
		}
		out = append(out, "-- in each database that the service uses:", fmt.Sprintf("REASSIGN OWNED BY %s TO %s;", quote(role), quote(t.cfg.Owner)))
	}
	return out, nil
}
