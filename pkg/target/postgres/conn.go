package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

const (
	// connectTimeout bounds one connection, so that one endpoint that drops packets
	// does not use up the deadline of a call.
	connectTimeout = 15 * time.Second
	// closeTimeout bounds the farewell to a server.
	closeTimeout = 2 * time.Second
)

// The SQLSTATE codes that mean something here.
const (
	codeDenied         = "42501"
	codeBadPassword    = "28P01"
	codeLoginForbidden = "28000"
)

// connect opens a session of its own. It never falls back: with TLS the server has to
// speak it, and to have a certificate for the name of the endpoint. Nothing but the
// configuration decides how it connects, in particular no PG* variable.
func (t *Target) connect(ctx context.Context, endpoint string, l target.Login) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig("host=localhost port=5432 user=rotator dbname=rotator sslmode=disable")
	if err != nil {
		return nil, fmt.Errorf("environment of PostgreSQL clients: %w", err)
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", endpoint, err)
	}
	c.Host, c.Port, c.User, c.Password, c.Database = host, uint16(n), l.Username, l.Password, cmp.Or(l.DBName, t.cfg.Database, "postgres")
	c.Fallbacks, c.ValidateConnect, c.AfterConnect, c.ConnectTimeout, c.SSLNegotiation = nil, nil, nil, connectTimeout, ""
	c.RuntimeParams = map[string]string{"application_name": "rotator"}
	c.DefaultQueryExecMode, c.StatementCacheCapacity, c.DescriptionCacheCapacity = pgx.QueryExecModeExec, 0, 0
	if t.cfg.TLS != nil {
		c.TLSConfig = t.cfg.TLS.Clone()
		if c.TLSConfig.ServerName == "" {
			c.TLSConfig.ServerName = host
		}
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if s := sqlState(err); s == codeBadPassword || s == codeLoginForbidden {
		err = fmt.Errorf("%w: %w", logins.ErrRefused, err)
	}
	if err != nil {
		return nil, secret.Scrub(err, secret.NewValue([]byte(l.Password)))
	}
	return conn, nil
}

// hangUp closes a session even if the context of the call has ended.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the server ends the session with the connection
}

// driver is what the accounts need of a target.
type driver struct{ *Target }

// Session implements [logins.Driver]. The names in the statements of f are those of
// pg_catalog.
func (d driver) Session(ctx context.Context, endpoint string, l target.Login, f func(*pgx.Conn) error) error {
	conn, err := d.connect(ctx, endpoint, l)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	if _, err := conn.Exec(ctx, "SET search_path TO pg_catalog"); err != nil {
		return err
	}
	err = f(conn)
	if sqlState(err) == codeDenied {
		err = errors.Join(logins.Lacks(d.missing(ctx, conn)), err)
	}
	return err
}

// Change implements [logins.Driver]: f runs in one transaction at the primary server.
func (d driver) Change(ctx context.Context, f func(*pgx.Conn) error) error {
	return d.accounts.AsAdmin(ctx, d.cfg.Endpoints[0], func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "rotator "+d.cfg.User); err != nil {
				return err
			}
			return f(conn)
		})
	})
}

// Login implements [logins.Driver].
func (d driver) Login(ctx context.Context, endpoint string, l target.Login) error {
	conn, err := d.connect(ctx, endpoint, l)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	return d.identify(ctx, conn, l.Username)
}

// sqlState returns the code of an error of the server, "" for another error.
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
