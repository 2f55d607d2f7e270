package integration

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tradepulse/rotator/examples/pools"
	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client/setup"
	setupvault "github.com/tradepulse/rotator/pkg/client/setup/vault"
	"github.com/tradepulse/rotator/pkg/secret"
)

var poolRotations = flag.Int("pools.rotations", 3, "rotations that TestPoolsUnderLoad makes")

const (
	poolSize = 10 // of the pool in each language
	poolTick = 10 * time.Millisecond
	poolRow  = "INSERT INTO orders (user_name) VALUES (session_user)"
)

// pythonPool writes over a pool of psycopg until its input ends, and then prints how many
// rows it has written.
const pythonPool = `
import asyncio, sys
from datetime import timedelta
from tradepulse_rotator import Manager, bus_from_env, source_from_env
from tradepulse_rotator.psycopg import pool

async def write(connections, row, pause, stop, rows):
    while not stop.is_set():
        async with connections.connection() as connection:
            await connection.execute(row)
        rows.append(1)
        await asyncio.sleep(pause)

async def main(id, size, pause, row):
    size, stop, rows = int(size), asyncio.Event(), []
    second = timedelta(seconds=1)
    async with Manager(service="python", instance="python", source=source_from_env([id]), bus=bus_from_env(), lease=second, fence=second) as manager:
        async with pool(manager, id, kwargs={"sslmode": "disable"}, min_size=size, max_size=size) as connections, asyncio.TaskGroup() as tasks:
            for _ in range(size):
                tasks.create_task(write(connections, row, float(pause), stop, rows))
            await asyncio.to_thread(sys.stdin.read)
            stop.set()
    print("rows:", len(rows))

asyncio.run(main(*sys.argv[1:]))
`

// newLoaded starts a node on OpenBao, which both clients can read, and returns the
// variables of their services.
func newLoaded(t *testing.T) (*database, map[string]string) {
	t.Helper()
	b := serverstest.StartBao(t)
	role := b.AppRole(t, "rotator", `path "secret/*" { capabilities = ["create", "read", "update", "delete", "list", "patch"] }`, "1h")
	secretID := filepath.Join(t.TempDir(), "secret-id")
	if err := os.WriteFile(secretID, []byte(role.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	store := fmt.Sprintf("{type: vault, address: %q, auth: {method: approle, role_id: %s, secret_id: {file: %q}}}", b.URL, role.ID, secretID)
	d := newDatabaseWith(t, store, "services: [orders, python]", "")
	d.check()
	return d, map[string]string{
		"ROTATOR_STORE": "vault", "VAULT_ADDR": b.URL, "VAULT_TOKEN": b.Root, "ROTATOR_NATS_URL": "nats://" + nodeAddress(t, d.cfg),
		"ROTATOR_NATS_CREDENTIALS_NKEY_FILE": filepath.Join(d.dir, "operator.nk"), "ROTATOR_TRUSTED_KEYS": filepath.Join(d.dir, "signing.key.pub"),
		"ROTATOR_FENCE": "1s", "ROTATOR_LEASE": "1s", string(databaseID): string(databaseID),
	}
}

// goPool opens the pool of examples/pools in a service of its own.
func goPool(t *testing.T, vars map[string]string) *pgxpool.Pool {
	t.Helper()
	c, err := setup.Open(t.Context(), setup.Options{
		Service: "orders", IDs: []secret.ID{databaseID}, Providers: []setup.Provider{setupvault.Provider()}, Logger: slog.New(slog.DiscardHandler),
		Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	config, err := pgxpool.ParseConfig("sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = poolSize
	pool, closePool, err := pools.NewPostgres(t.Context(), c.Manager, databaseID, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closePool)
	return pool
}

// loadPool writes over all connections of a pool until the returned function is called,
// which returns how many rows there have to be.
func loadPool(t *testing.T, pool *pgxpool.Pool) (stop func() int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var n atomic.Int64
	for range poolSize {
		wg.Go(func() {
			tick := time.NewTicker(poolTick)
			defer tick.Stop()
			for ; ctx.Err() == nil; <-tick.C {
				if _, err := pool.Exec(t.Context(), poolRow); err != nil {
					t.Errorf("write in Go: %v", err)
					return
				}
				n.Add(1)
			}
		})
	}
	return func() int64 {
		cancel()
		wg.Wait()
		return n.Load()
	}
}

// TestPoolsUnderLoad: twenty connections, half of a pool in Go and half of one in Python,
// write while rotator takes turns between two roles. No write fails, no session of a
// retired credential is left, and no row is lost.
func TestPoolsUnderLoad(t *testing.T) {
	t.Parallel()
	d, vars := newLoaded(t)
	stop := loadPool(t, goPool(t, vars))
	delete(vars, "ROTATOR_FENCE") // the program sets them itself
	delete(vars, "ROTATOR_LEASE")
	python := startPythonProgram(t, pythonPool, vars, string(databaseID), fmt.Sprint(poolSize), fmt.Sprint(poolTick.Seconds()), poolRow)
	waittest.Until(t, "both services report", func() error {
		if out := d.run(0, "", "status", "--json"); !strings.Contains(out, `"applied": 2`) {
			return fmt.Errorf("%s\nPython said:\n%s", out, python.log.String())
		}
		return nil
	})
	begin := time.Now()
	for range *poolRotations {
		d.turn()
	}
	took := time.Since(begin)
	want := stop()
	python.stop()
	var inPython int64
	_, text, _ := strings.Cut(python.log.String(), "rows: ")
	if _, err := fmt.Sscan(text, &inPython); err != nil || inPython == 0 || want == 0 {
		t.Fatalf("%d rows in Go, %d in Python, %v; it said:\n%s", want, inPython, err, python.log.String())
	}
	rows, users := d.count("SELECT count(*) FROM orders"), d.count("SELECT count(DISTINCT user_name) FROM orders")
	if rows != want+inPython || users != 2 {
		t.Errorf("%d rows by %d roles, want %d by 2", rows, users, want+inPython)
	}
	t.Logf("%d rotations in %v: %d rows in Go, %d in Python", *poolRotations, took.Round(time.Second), want, inPython)
}

// turn rotates the secret, and has the version before retired.
func (d *database) turn() {
	d.t.Helper()
	old := d.run(0, "", "get", string(databaseID))
	d.run(0, "", "rotate", string(databaseID), "--timeout", "2m", "--again")
	d.state("the version before is retired", func(s consumerView) bool { return s.Rollout == "retired" })
	if err := d.login(old); err == nil {
		d.t.Error("the retired value still logs in")
	}
	role := "app"
	if strings.Contains(old, "app_clone") {
		role = "app_clone"
	}
	if n := d.count("SELECT count(*) FROM pg_stat_activity WHERE usename = '" + role + "'"); n != 0 {
		d.t.Errorf("%d sessions of %s are left", n, role)
	}
	if n := d.count("SELECT count(*) FROM pg_stat_activity WHERE usename IN ('app', 'app_clone')"); n == 0 {
		d.t.Error("no pool has a session")
	}
}

// count asks the server as the superuser for a number.
func (d *database) count(query string) (n int64) {
	d.t.Helper()
	conn, err := serverstest.PostgresLogin(d.t.Context(), fmt.Sprintf("%s:%d", d.server.Host, d.server.Port), d.server.User, d.server.Password, "orders")
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(d.t.Context())) }()
	if err := conn.QueryRow(d.t.Context(), query).Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	return n
}
