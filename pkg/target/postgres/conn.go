package postgres

import (
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
func (t *Target) connect(ctx context.Context, endpoint string, l target.Login, database string) (*pgx.Conn, error) {
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
	c.Host, c.Port, c.User, c.Password, c.Database = host, uint16(n), l.Username, l.Password, database
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

// asAdmin runs f in a session of the admin at an endpoint. The names in its
// statements are those of pg_catalog.
func (t *Target) asAdmin(ctx context.Context, endpoint string, f func(*pgx.Conn) error) error {
	v, err := t.cfg.Admin(ctx)
	if err != nil {
		return fmt.Errorf("read the admin secret: %w", err)
	}
	l, err := target.ParseLogin(v)
	if err != nil {
		return fmt.Errorf("admin secret: %w", err)
	}
	conn, err := t.connect(ctx, endpoint, l, orDefault(l.DBName, t.cfg.Database))
	if err != nil {
		return fmt.Errorf("log in as admin: %w", err)
	}
	defer hangUp(ctx, conn)
	if _, err := conn.Exec(ctx, "SET search_path TO pg_catalog"); err != nil {
		return err
	}
	err = f(conn)
	if sqlState(err) == codeDenied {
		err = errors.Join(t.firstMissing(ctx, conn), err)
	}
	return secret.Scrub(err, v)
}

// change runs f in a transaction of the admin, one at a time for each user.
func (t *Target) change(ctx context.Context, f func(pgx.Tx) error) error {
	return t.asAdmin(ctx, t.cfg.Endpoints[0], func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "rotator "+t.cfg.User); err != nil {
				return err
			}
			return f(tx)
		})
	})
}

// login opens a session with a value, checks whose it is, and closes it.
func (t *Target) login(ctx context.Context, endpoint string, l target.Login) error {
	conn, err := t.connect(ctx, endpoint, l, orDefault(l.DBName, t.cfg.Database))
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	return t.identify(ctx, conn, l.Username)
}

// sqlState returns the code of an error of the server, "" for another error.
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// orDefault returns the database of a login.
func orDefault(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return "postgres"
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
