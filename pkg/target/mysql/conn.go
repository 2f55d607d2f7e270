package mysql

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/internal/logins"
)

const (
	// connectTimeout bounds one connection, so that one endpoint that drops packets
	// does not use up the deadline of a call.
	connectTimeout = 15 * time.Second
	// lockTimeout is how long a worker waits for another one, in seconds.
	lockTimeout = 30
)

// The numbers of errors that mean something here.
var (
	// refused: the password, no password, a locked account (MariaDB, MySQL).
	refused = []uint16{1045, 1698, 4151, 3118}
	// denied: a database, a table, a right, a grant, KILL.
	denied = []uint16{1044, 1142, 1227, 1410, 1095}
)

// session is a connection of the admin.
type session struct {
	conn    *sql.Conn
	mariadb bool
}

// connect opens a session of its own. It never falls back: with TLS the server has to
// speak it, and to have a certificate for the name of the endpoint.
func (t *Target) connect(ctx context.Context, endpoint string, l target.Login, database string, f func(*sql.Conn) error) error {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName, c.Net, c.Addr = l.Username, l.Password, database, "tcp", endpoint
	c.Timeout, c.Logger, c.TLS = connectTimeout, &mysql.NopLogger{}, t.cfg.TLS.Clone()
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close() //nolint:errcheck // the server ends the session with the connection
	conn, err := db.Conn(ctx)
	if slices.Contains(refused, number(err)) {
		err = fmt.Errorf("%w: %w", logins.ErrRefused, err)
	}
	if err != nil {
		return secret.Scrub(err, secret.NewValue([]byte(l.Password)))
	}
	defer conn.Close() //nolint:errcheck // likewise
	return f(conn)
}

// number returns that of an error of the server, 0 for another error.
func number(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

// driver is what the accounts need of a target.
type driver struct{ *Target }

// Session implements [logins.Driver]. In the statements of f a quote is the only
// character that a string escapes.
func (d driver) Session(ctx context.Context, endpoint string, l target.Login, f func(*session) error) error {
	return d.connect(ctx, endpoint, l, "", func(conn *sql.Conn) error {
		s := &session{conn: conn}
		var version string
		if err := conn.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
			return err
		}
		s.mariadb = strings.Contains(version, "MariaDB")
		if err := s.exec(ctx, "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'"); err != nil {
			return err
		}
		err := f(s)
		if slices.Contains(denied, number(err)) {
			err = errors.Join(logins.Lacks(d.missing(ctx, s, d.rights()...)), err)
		}
		return err
	})
}

// Change implements [logins.Driver]: f runs at the primary server. The server has no
// transactions for accounts: f finds out what was done before.
func (d driver) Change(ctx context.Context, f func(*session) error) error {
	return d.accounts.AsAdmin(ctx, d.cfg.Endpoints[0], func(s *session) error {
		sum := sha256.Sum256([]byte(d.cfg.User))
		var locked sql.NullBool
		if err := s.conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", "rotator "+hex.EncodeToString(sum[:16]), lockTimeout).Scan(&locked); err != nil {
			return err
		}
		if !locked.Bool {
			return fmt.Errorf("another worker has changed account %q for %d seconds", d.cfg.User, lockTimeout)
		}
		return f(s)
	})
}

func (s *session) exec(ctx context.Context, statement string) error {
	_, err := s.conn.ExecContext(ctx, statement)
	return err
}

// texts runs a query of one column.
func (s *session) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var text sql.NullString
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text.String)
	}
	return out, rows.Err()
}

// Login implements [logins.Driver].
func (d driver) Login(ctx context.Context, endpoint string, l target.Login) error {
	return d.connect(ctx, endpoint, l, cmp.Or(l.DBName, d.cfg.Database), func(conn *sql.Conn) error {
		var account string
		if err := conn.QueryRowContext(ctx, "SELECT CURRENT_USER()").Scan(&account); err != nil {
			return err
		}
		if !strings.HasPrefix(account, l.Username+"@") {
			return fmt.Errorf("the server takes the session for that of %q", account)
		}
		return nil
	})
}
