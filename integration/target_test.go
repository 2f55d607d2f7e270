package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/setup"
	setupnatskv "github.com/tradepulse/rotator/pkg/client/setup/natskv"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// database is a node that rotates the password of a PostgreSQL user which existed
// before, and owns a table.
type database struct {
	t        *testing.T
	server   *serverstest.Postgres
	node     *program
	cfg, dir string
}

const (
	databaseID    = secret.ID("DB")
	databaseFirst = `{"engine":"postgres","host":"127.0.0.1","port":"%d","username":"app","password":"Existing.Password-0123","dbname":"orders"}`
)

func newDatabase(t *testing.T) *database {
	t.Helper()
	return newDatabaseWith(t, "{type: natskv}", "services: [orders], consumers: [{name: erp}]", "")
}

// newDatabaseWith starts a node with a store and a secret that has some users, with more
// sections in its configuration.
func newDatabaseWith(t *testing.T, store, users, more string) *database {
	t.Helper()
	d := &database{t: t, server: serverstest.StartPostgres(t)}
	d.server.Exec(t, "postgres", "CREATE DATABASE orders", "CREATE ROLE app LOGIN PASSWORD 'Existing.Password-0123'",
		"CREATE ROLE rotator LOGIN CREATEROLE PASSWORD 'Admin.Password-01234'", "GRANT pg_read_all_stats, pg_signal_backend TO rotator")
	d.server.Exec(t, "orders", "CREATE TABLE orders (id bigserial, user_name text)", "ALTER TABLE orders OWNER TO app")
	cfg, health := singleNode(t, fmt.Sprintf(`  - {id: DB_ADMIN, disabled: true}
  - {id: %s, ttl: 1h, grace: none, fence: 1s, %s, target: {name: pg, user: app, soak: 1s}}
targets:
  pg: {type: postgres, endpoints: ["127.0.0.1:%d"], admin: DB_ADMIN, tls: {ca: %q}}
%s`, databaseID, users, d.server.Port, d.server.CA, more))
	edit(t, cfg, "{type: natskv}", store)
	d.cfg, d.dir = cfg, filepath.Join(filepath.Dir(cfg), "data")
	d.node = start(t, "run", "--config", cfg)
	ready(t, health)
	d.run(0, `{"username":"rotator","password":"Admin.Password-01234"}`, "import", "DB_ADMIN")
	d.run(0, fmt.Sprintf(databaseFirst, d.server.Port), "import", string(databaseID))
	return d
}

// run runs a command to its end and returns its standard output.
func (d *database) run(want int, in string, args ...string) string {
	d.t.Helper()
	out, errs, code := piped(d.t, in, append(args, "--config", d.cfg)...)
	if code != want {
		d.t.Fatalf("%q: exit %d, want %d\n%s%s", args, code, want, out, errs)
	}
	if args[0] != "get" && strings.Contains(out+errs, "Password-0") {
		d.t.Fatalf("%q shows a password:\n%s%s", args, out, errs)
	}
	return out
}

// login logs in with a value.
func (d *database) login(value string) error {
	d.t.Helper()
	l, err := target.ParseLogin(secret.NewValue([]byte(value)))
	if err != nil {
		d.t.Fatal(err)
	}
	conn, err := serverstest.PostgresLogin(d.t.Context(), net.JoinHostPort(d.server.Host, fmt.Sprint(d.server.Port)), l.Username, l.Password, l.DBName)
	if err == nil {
		err = conn.Close(d.t.Context())
	}
	return err
}

// hold opens a session with a value, as a person does who forgets it.
func (d *database) hold(value string) *pgx.Conn {
	d.t.Helper()
	l, err := target.ParseLogin(secret.NewValue([]byte(value)))
	if err != nil {
		d.t.Fatal(err)
	}
	conn, err := serverstest.PostgresLogin(d.t.Context(), net.JoinHostPort(d.server.Host, fmt.Sprint(d.server.Port)), l.Username, l.Password, l.DBName)
	if err != nil {
		d.t.Fatal(err)
	}
	return conn
}

// service opens a pool that follows the secret, as a service does.
func (d *database) service(listen string) *sql.DB {
	d.t.Helper()
	vars := map[string]string{
		"ROTATOR_STORE": "natskv", "ROTATOR_NATSKV_MASTER_KEY_FILE": filepath.Join(d.dir, "master.key"), "ROTATOR_NATS_URL": "nats://" + listen,
		"ROTATOR_NATS_CREDENTIALS_NKEY_FILE": filepath.Join(d.dir, "operator.nk"), "ROTATOR_TRUSTED_KEYS": filepath.Join(d.dir, "signing.key.pub"),
		"ROTATOR_FENCE": "1s", "ROTATOR_LEASE": "1s", string(databaseID): string(databaseID),
	}
	c, err := setup.Open(d.t.Context(), setup.Options{
		Service: "orders", IDs: []secret.ID{databaseID}, Providers: []setup.Provider{setupnatskv.Provider()}, Logger: slog.New(slog.DiscardHandler),
		Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close(context.WithoutCancel(d.t.Context())) })
	pool := sql.OpenDB(client.NewConnector(c.Manager, databaseID, stdlib.GetDefaultDriver(), func(v secret.Value) (string, error) {
		l, err := target.ParseLogin(v)
		return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", l.Host, l.Port, l.Username, l.Password, l.DBName), err
	}))
	pool.SetConnMaxLifetime(200 * time.Millisecond)
	d.t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// nodeAddress returns where services reach the node of a configuration.
func nodeAddress(t *testing.T, cfg string) string {
	t.Helper()
	text, err := os.ReadFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`node: .* listen: "([^"]+)"`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no address in\n%s", text)
	}
	return string(found[1])
}

// state waits until status says of the secret what ok wants.
func (d *database) state(what string, ok func(consumerView) bool) {
	d.t.Helper()
	waittest.Until(d.t, what, func() error {
		var all []consumerView
		if err := json.Unmarshal([]byte(d.run(0, "", "status", "--json", string(databaseID))), &all); err != nil || len(all) != 1 || !ok(all[0]) {
			return fmt.Errorf("status says %+v, %w", all, err)
		}
		return nil
	})
}

// TestADatabasePasswordIsRotated adopts a user of a real database, closes the
// ownership trap with the SQL that the command prints, and rotates twice, to the second
// role and back. The old value works until the last user of it is confirmed and the
// last session of it has ended, and is refused after that. A pool of a service loses no statement, and no value is in a log
// of the server.
func TestADatabasePasswordIsRotated(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.check()
	pool := d.service(nodeAddress(t, d.cfg))
	writes := d.write(pool)
	values := []string{d.run(0, "", "get", string(databaseID))}
	for range 2 {
		old := values[len(values)-1]
		if out := d.run(0, "", "rotate", string(databaseID), "--timeout", "2m", "--again"); !strings.Contains(out, " → ") {
			t.Fatalf("rotate: %s", out)
		}
		now := d.run(0, "", "get", string(databaseID))
		values = append(values, now)
		var version string
		d.state("only the consumer is waited for", func(s consumerView) bool {
			version = s.Version
			return s.Rollout == "waiting" && len(s.Safe.Waiting) == 1
		})
		if err := errors.Join(d.login(now), d.login(old)); err != nil {
			t.Errorf("before the old version is retired: %v", err)
		}
		held := d.hold(old)
		d.run(0, "", "confirm", string(databaseID), "--consumer", "erp", "--version", version)
		waittest.Until(t, "the worker names the session that holds the retirement back", func() error {
			if !strings.Contains(d.node.out.String(), "are open at the target (1): "+held.PgConn().Conn().LocalAddr().String()) {
				return errors.New("it does not")
			}
			return d.login(old)
		})
		if err := held.Close(t.Context()); err != nil {
			t.Error(err)
		}
		d.state("the version before is retired", func(s consumerView) bool { return s.Rollout == "retired" })
		if err := d.login(now); err != nil {
			t.Error(err)
		}
		if err := d.login(old); err == nil {
			t.Error("the retired value still logs in")
		}
	}
	if first, last := values[0], values[2]; !strings.Contains(last, `"username":"app"`) || last == first || !strings.Contains(values[1], `"username":"app_clone"`) {
		t.Error("the roles did not take turns")
	}
	writes()
	for _, v := range values[1:] {
		l, _ := target.ParseLogin(secret.NewValue([]byte(v)))
		if strings.Contains(d.server.Log(), l.Password) {
			t.Error("a log of the server holds a password")
		}
	}
}

// check runs rotator target check before and after its SQL.
func (d *database) check() {
	d.t.Helper()
	out := d.run(1, "", "target", "check", "pg", "--json")
	var all []struct {
		Ready         bool
		Traps, Setup  []string
		Server, Admin string
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		d.t.Fatalf("%v: %s", err, out)
	}
	if r := all[0]; r.Ready || r.Admin != "rotator" || !strings.Contains(strings.Join(r.Traps, "\n"), "no owner role") {
		d.t.Errorf("target check: %+v", r)
	}
	for _, s := range all[0].Setup {
		d.server.Exec(d.t, "orders", s)
	}
	if out := d.run(0, "", "target", "check", "pg"); !strings.Contains(out, "DB: ready") || !strings.Contains(out, `CREATE ROLE "app_clone"`) {
		d.t.Errorf("after its SQL: %s", out)
	}
	d.run(2, "", "target", "check", "pgg")
}

// write has a pool write rows until the returned function is called, which fails the
// test unless every row is there.
func (d *database) write(pool *sql.DB) func() {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan int)
	go func() {
		n := 0
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; <-tick.C {
			if _, err := pool.ExecContext(d.t.Context(), "INSERT INTO orders (user_name) VALUES (session_user)"); err != nil {
				d.t.Errorf("write: %v", err)
			}
			n++
		}
		done <- n
	}()
	return func() {
		d.t.Helper()
		cancel()
		n := <-done
		var rows, users int
		if err := pool.QueryRowContext(d.t.Context(), "SELECT count(*), count(DISTINCT user_name) FROM orders").Scan(&rows, &users); err != nil || rows != n || users != 2 {
			d.t.Errorf("%d rows of %d users, %v; want %d of 2", rows, users, err, n)
		}
	}
}

// TestThePagesOfTargets: their configurations are valid, and the SQL runs.
func TestThePagesOfTargets(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"postgres.md", "pgbouncer.md", "mysql.md", "valkey.md", "awsiam.md", "hook.md"} {
		text, err := os.ReadFile(filepath.Join("..", "docs", "targets", page))
		if err != nil {
			t.Fatal(err)
		}
		cfg := filepath.Join(t.TempDir(), page+".yaml")
		if err := os.WriteFile(cfg, []byte(fenced(t, string(text), "yaml")), 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, 0, "", "config", "validate", cfg)
		statements := func() []string {
			return strings.Split(strings.TrimSuffix(strings.TrimSpace(fenced(t, string(text), "sql")), ";"), ";")
		}
		switch page {
		case "postgres.md":
			serverstest.StartPostgres(t).Exec(t, "postgres", statements()...)
		case "mysql.md":
			serverstest.StartMariaDB(t).Exec(t, statements()...)
		}
	}
}

// fenced returns the first block of a language, without its indent.
func fenced(t *testing.T, page, language string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)\n( *)```" + language + "\n(.*?)\n *```").FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no block of %s", language)
	}
	return strings.ReplaceAll("\n"+found[2], "\n"+found[1], "\n")
}
