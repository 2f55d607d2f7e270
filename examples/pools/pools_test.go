package pools

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/clienttest"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	database    = secret.ID("ORDERS_DB")
	connections = 10 // of each pool
	rotations   = 4
)

// world is a server with two roles in one owner role, which take turns as with the
// alternating strategy.
type world struct {
	t      *testing.T
	server *serverstest.Postgres
	kit    *clienttest.Kit
	turn   int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: serverstest.StartPostgres(t)}
	w.server.Exec(t, "postgres", "CREATE ROLE app_owner", "CREATE ROLE app LOGIN IN ROLE app_owner", "CREATE ROLE app_clone LOGIN IN ROLE app_owner",
		"ALTER ROLE app SET role = app_owner", "ALTER ROLE app_clone SET role = app_owner",
		"CREATE TABLE orders (id bigserial, user_name text)", "ALTER TABLE orders OWNER TO app_owner")
	w.kit = clienttest.New(t, map[secret.ID]string{database: w.apply()})
	return w
}

func (w *world) role() string { return []string{"app", "app_clone"}[w.turn%2] }

// apply gives the other role a new password and returns the value.
func (w *world) apply() string {
	w.t.Helper()
	w.turn++
	password := "Password." + rand.Text()
	w.server.Exec(w.t, "postgres", fmt.Sprintf("ALTER ROLE %s LOGIN PASSWORD '%s'", w.role(), password))
	return fmt.Sprintf(`{"engine":"postgres","host":%q,"port":%d,"username":%q,"password":%q,"dbname":"postgres"}`, w.server.Host, w.server.Port, w.role(), password)
}

// rotate takes a new version into use, and revokes the one before once the server
// sees no session of it, without ending any.
func (w *world) rotate(admin *sql.DB) {
	w.t.Helper()
	old := w.role()
	w.kit.Rotate(database, w.apply())
	w.kit.WaitApplied(database)
	waittest.Until(w.t, "no session of "+old, func() error {
		var open int
		err := admin.QueryRowContext(w.t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", old).Scan(&open)
		if err == nil && open > 0 {
			err = fmt.Errorf("%d are open", open)
		}
		return err
	})
	w.server.Exec(w.t, "postgres", fmt.Sprintf("ALTER ROLE %s NOLOGIN PASSWORD NULL", old))
}

func (w *world) admin() *sql.DB {
	w.t.Helper()
	db, err := sql.Open("pgx", fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=postgres sslmode=disable", w.server.Host, w.server.Port, w.server.User, w.server.Password))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

func (w *world) pgx(m *client.Manager) *pgxpool.Pool {
	w.t.Helper()
	config, err := pgxpool.ParseConfig("sslmode=disable")
	if err != nil {
		w.t.Fatal(err)
	}
	config.MaxConns = connections
	pool, closePool, err := NewPostgres(w.t.Context(), m, database, config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(closePool)
	return pool
}

// standard is a pool of database/sql on the same server.
func (w *world) standard(m *client.Manager) *sql.DB {
	db := sql.OpenDB(client.NewConnector(m, database, stdlib.GetDefaultDriver(), func(v secret.Value) (string, error) {
		l, err := parse(v)
		return fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=%s sslmode=disable", l.Host, l.Port, l.Username, l.Password, l.DBName), err
	}))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxLifetime(100 * time.Millisecond)
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestNoStatementFailsWhileCredentialsRotate: twenty connections of two kinds of pool
// write through several rotations, and no connection is left on an old credential.
func TestNoStatementFailsWhileCredentialsRotate(t *testing.T) {
	w := newWorld(t)
	m := w.kit.Manager()
	pool, standard := w.pgx(m), w.standard(m)
	const insert = "INSERT INTO orders (user_name) VALUES (session_user)"
	ctx, stop := context.WithCancel(t.Context())
	var written atomic.Int64
	var writers sync.WaitGroup
	write := func(one func() error) {
		for ctx.Err() == nil {
			if err := one(); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			written.Add(1)
		}
	}
	for range connections {
		writers.Go(func() { write(func() error { _, err := pool.Exec(t.Context(), insert); return err }) })
		writers.Go(func() { write(func() error { _, err := standard.ExecContext(t.Context(), insert); return err }) })
	}
	admin := w.admin()
	for range rotations {
		w.rotate(admin)
	}
	stop()
	writers.Wait()
	var rows, users int64
	if err := admin.QueryRowContext(t.Context(), "SELECT count(*), count(DISTINCT user_name) FROM orders").Scan(&rows, &users); err != nil || rows != written.Load() || users != 2 {
		t.Errorf("%d rows by %d users, %v; want %d by 2", rows, users, err, written.Load())
	}
	t.Logf("%d rows through %d rotations", rows, rotations)
}

// afterwards is a hook whose Commit comes after that of a pool.
type afterwards func()

func (afterwards) Prepare(context.Context, client.Change) error { return nil }
func (a afterwards) Commit(context.Context, client.Change)      { a() }
func (afterwards) Withdraw(secret.VersionID)                    {}

// TestAConnectionAfterTheResetHasTheNewCredential: the manager serves the version before
// until every hook has taken the new one, and the pool opens connections meanwhile.
func TestAConnectionAfterTheResetHasTheNewCredential(t *testing.T) {
	w := newWorld(t)
	m := w.kit.Manager()
	pool := w.pgx(m)
	var user string
	stop, err := m.SubscribeTwoPhase(t.Context(), database, afterwards(func() {
		if err := pool.QueryRow(t.Context(), "SELECT session_user").Scan(&user); err != nil {
			t.Errorf("query: %v", err)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	w.kit.Rotate(database, w.apply())
	w.kit.WaitApplied(database)
	if user != w.role() {
		t.Errorf("a connection that was opened after the reset is of %s, want %s", user, w.role())
	}
}

// TestAVersionThatCannotLogInIsRefused: the pool goes on with the version before.
func TestAVersionThatCannotLogInIsRefused(t *testing.T) {
	w := newWorld(t)
	pool := w.pgx(w.kit.Manager())
	w.kit.Rotate(database, fmt.Sprintf(`{"host":%q,"port":"%d","username":"app","password":"No.Such.Password","dbname":"postgres"}`, w.server.Host, w.server.Port))
	w.kit.WaitFailed(database)
	var user string
	if err := pool.QueryRow(t.Context(), "SELECT session_user").Scan(&user); err != nil || user != w.role() {
		t.Errorf("user %q, %v; want %s", user, err, w.role())
	}
}

// TestMySQL rotates between two accounts of a MariaDB server.
func TestMySQL(t *testing.T) {
	server := serverstest.StartMariaDB(t)
	server.Exec(t, "CREATE USER app IDENTIFIED BY 'First.Password.1'", "CREATE USER app_clone IDENTIFIED BY 'Second.Password.2'")
	value := func(user, password string) string {
		host, port := "127.0.0.1", server.Address[len("127.0.0.1:"):]
		return fmt.Sprintf(`{"engine":"mariadb","host":%q,"port":%s,"username":%q,"password":%q}`, host, port, user, password)
	}
	kit := clienttest.New(t, map[secret.ID]string{database: value("app", "First.Password.1")})
	db := NewMySQL(kit.Manager(), database, "false", 50*time.Millisecond)
	defer db.Close()
	is := func(want string) error {
		var user string
		if err := db.QueryRowContext(t.Context(), "SELECT CURRENT_USER()").Scan(&user); err != nil {
			t.Fatal(err)
		}
		if user != want {
			return errors.New(user)
		}
		return nil
	}
	if err := is("app@%"); err != nil {
		t.Fatal(err)
	}
	kit.Rotate(database, value("app_clone", "Second.Password.2"))
	waittest.Until(t, "the pool uses the new account", func() error { return is("app_clone@%") })
	server.Exec(t, "ALTER USER app ACCOUNT LOCK")
}
