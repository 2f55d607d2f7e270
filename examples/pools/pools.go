// Package pools shows pools of database connections whose credentials rotate. The
// value of their secret is a document in the shape of AWS Secrets Manager, as the
// targets of rotator write it.
package pools

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
)

// maxAge bounds how long a connection lives that a rotation did not reach.
const maxAge = 30 * time.Minute

type login struct {
	Host     string      `json:"host"`
	Port     json.Number `json:"port"`
	Username string      `json:"username"`
	Password string      `json:"password"`
	DBName   string      `json:"dbname"`
}

func parse(v secret.Value) (login, error) {
	var l login
	if err := json.Unmarshal(v.Reveal(), &l); err != nil {
		return l, errors.New("the value is not a document with host, port, username and password") // the decoder's own error could quote the value
	}
	return l, nil
}

// postgres is a pgxpool.Pool that takes each version of a secret into use in two
// steps: it logs in with it, and then replaces its connections.
//
// It keeps the value that Commit was given: a handle has the version before until every
// hook has taken the new one, and a connection that is opened between Reset and that
// would stay in the pool with the old credential.
type postgres struct {
	pool  *pgxpool.Pool
	value atomic.Pointer[secret.Value]
}

// NewPostgres opens a pool whose connections log in with the version of the secret
// that is in use. config says everything else, such as TLS, but for MinConns and
// MinIdleConns, which are ignored. The returned function
// closes the pool.
func NewPostgres(ctx context.Context, m *client.Manager, id secret.ID, config *pgxpool.Config) (*pgxpool.Pool, func(), error) {
	p := &postgres{}
	first := m.Secret(id).Get().Value
	p.value.Store(&first)
	config.MaxConnLifetime = maxAge
	config.MinConns, config.MinIdleConns = 0, 0 // one that is being opened for these when Commit calls Reset would stay, idle, with the old credential
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error { return use(c, *p.value.Load()) }
	var err error
	if p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, nil, fmt.Errorf("open the pool: %w", err)
	}
	stop, err := m.SubscribeTwoPhase(ctx, id, p)
	if err != nil {
		p.pool.Close()
		return nil, nil, fmt.Errorf("open the pool: %w", err)
	}
	return p.pool, func() { stop(); p.pool.Close() }, nil
}

// Prepare refuses a version that cannot log in: the instance reports failed, and the
// version before stays in use.
func (p *postgres) Prepare(ctx context.Context, c client.Change) error {
	config := p.pool.Config().ConnConfig
	if err := use(config, c.Value); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("log in with %s: %w", c.ID, secret.Scrub(err, c.Value))
	}
	return conn.Close(ctx)
}

// Commit closes the idle connections. The others close when they come back.
func (p *postgres) Commit(_ context.Context, c client.Change) {
	p.value.Store(&c.Value)
	p.pool.Reset()
}

// Withdraw does nothing: Prepare keeps nothing.
func (*postgres) Withdraw(secret.VersionID) {}

// use has a connection log in with a value.
func use(c *pgx.ConnConfig, v secret.Value) error {
	l, err := parse(v)
	if err != nil {
		return err
	}
	port, err := l.Port.Int64()
	if err != nil || port < 1 || port > 65535 {
		return errors.New("the port in the document is not one")
	}
	c.Host, c.Port, c.User, c.Password, c.Database = l.Host, uint16(port), l.Username, l.Password, l.DBName
	c.Fallbacks = nil
	return nil
}

// NewMySQL opens a pool of database/sql whose connections log in with the version of
// the secret that is in use. tls is "true" except on the same machine. A connection that
// is open when the secret rotates is replaced within maxAge, so the grace period of
// the secret has to be longer.
func NewMySQL(m *client.Manager, id secret.ID, tls string, maxAge time.Duration) *sql.DB {
	db := sql.OpenDB(client.NewConnector(m, id, &mysql.MySQLDriver{}, func(v secret.Value) (string, error) {
		l, err := parse(v)
		config := mysql.NewConfig()
		config.Net, config.Addr, config.TLSConfig = "tcp", net.JoinHostPort(l.Host, l.Port.String()), tls
		config.User, config.Passwd, config.DBName = l.Username, l.Password, l.DBName
		return config.FormatDSN(), err
	}))
	db.SetConnMaxLifetime(maxAge)
	return db
}
