package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
)

// pooled is a database behind a PgBouncer that docs/targets/pgbouncer.md sets up.
type pooled struct {
	*database
	pooler *serverstest.PgBouncer
	script string
	run    string // the directory in which the agent and PgBouncer meet
	agent  *program
}

const poolerPage = "../docs/targets/pgbouncer.md"

// newPooled pastes the page, in directories of the test, and starts the agent.
func newPooled(t *testing.T) *pooled {
	t.Helper()
	b := serverstest.NewPgBouncer(t)
	p := &pooled{pooler: b, script: filepath.Join(b.Dir, "take-credential"), run: filepath.Join(b.Dir, "run")}
	here := strings.NewReplacer("/etc/pgbouncer", b.Dir, "/run/orders-db", p.run, "6432", fmt.Sprint(b.Port), "ORDERS_DB", string(databaseID))
	text, err := os.ReadFile(poolerPage)
	if err != nil {
		t.Fatal(err)
	}
	_, agent, ok := strings.Cut(here.Replace(fenced(t, string(text), "yaml")), "\nagent:\n")
	if !ok {
		t.Fatal("the page has no section agent")
	}
	p.paste(t, here)
	p.database = newDatabaseWith(t, "{type: natskv}", "services: [orders-pgbouncer]", "agent:\n"+agent+"\n")
	ca, err := os.ReadFile(p.server.CA)
	if err != nil {
		t.Fatal(err)
	}
	p.file(t, "db-ca.pem", string(ca))
	p.check()
	p.agent = &program{cmd: exec.Command(binary(t, "notifier"), "agent", "--config", p.cfg), out: &output{}, done: make(chan struct{})}
	p.agent.cmd.Env = append(os.Environ(), "ROTATOR_HTTP_AGENT_LISTEN=none")
	p.agent.run(t)
	waittest.Until(t, "the script has written the line of the database", func() error {
		_, err := os.Stat(filepath.Join(p.run, "database.ini"))
		return err
	})
	b.Start(t)
	waittest.Until(t, "the script has succeeded", func() error {
		if out := p.database.run(0, "", "status", "--json"); !strings.Contains(out, `"applied": 1`) {
			return errors.New(out)
		}
		return nil
	})
	return p
}

// paste runs the shell blocks of the page, but for what changes the machine.
func (p *pooled) paste(t *testing.T, here *strings.Replacer) {
	t.Helper()
	owner := regexp.MustCompile(`(?m:^.*(?:apt-get|tmpfiles\.d).*$)|sudo |-o postgres -g postgres `)
	for _, block := range shellBlocks(t, poolerPage) {
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", here.Replace(owner.ReplaceAllString(block, "")))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s in\n%s", err, out, block)
		}
	}
}

func (p *pooled) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.pooler.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clients opens a pool of connections to PgBouncer, as services do.
func (p *pooled) clients() *sql.DB {
	p.t.Helper()
	pool, err := sql.Open("pgx", fmt.Sprintf("host=127.0.0.1 port=%d user=orders-api password=Change-Me.0123456789 dbname=orders sslmode=disable default_query_exec_mode=simple_protocol", p.pooler.Port))
	if err != nil {
		p.t.Fatal(err)
	}
	pool.SetMaxIdleConns(poolClients)
	p.t.Cleanup(func() { _ = pool.Close() })
	return pool
}

const poolClients = 4

// write has clients write rows, over the connections that they have, until the returned
// function is called, which returns how many rows there have to be.
func (p *pooled) write(pool *sql.DB) (stop func() int64) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var wg sync.WaitGroup
	var n atomic.Int64
	for range poolClients {
		wg.Go(func() {
			conn, err := pool.Conn(p.t.Context())
			if err != nil {
				p.t.Errorf("connect: %v", err)
				return
			}
			defer conn.Close()
			tick := time.NewTicker(poolTick)
			defer tick.Stop()
			for ; ctx.Err() == nil; <-tick.C {
				if _, err := conn.ExecContext(p.t.Context(), "INSERT INTO orders (user_name) VALUES (session_user)"); err != nil {
					p.t.Errorf("write: %v", err)
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

// session returns the role and the process at the server that a client gets.
func (p *pooled) session(pool *sql.DB) (user string, pid int) {
	p.t.Helper()
	if err := pool.QueryRowContext(p.t.Context(), "SELECT session_user, pg_backend_pid()").Scan(&user, &pid); err != nil {
		p.t.Fatal(err)
	}
	return user, pid
}

// take runs the script with a value.
func (p *pooled) take(value string) error {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.script)
	cmd.Env = append(os.Environ(), "ROTATOR_FILE="+p.file(p.t, "value.json", value))
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
}

// TestPgBouncerTakesEachPassword sets up PgBouncer and the agent as their page says. The
// password rotates to the second role and back, and the clients of PgBouncer write over
// the same connections meanwhile, without an error.
func TestPgBouncerTakesEachPassword(t *testing.T) {
	t.Parallel()
	p := newPooled(t)
	pool := p.clients()
	stop := p.write(pool)
	for range 2 {
		old := p.database.run(0, "", "get", string(databaseID))
		p.database.run(0, "", "rotate", string(databaseID), "--timeout", "2m", "--again")
		p.state("the version before is retired", func(s consumerView) bool { return s.Rollout == "retired" })
		if err := p.login(old); err == nil {
			t.Error("the retired value still logs in")
		}
	}
	n := stop()
	var rows, users int64
	if err := pool.QueryRowContext(t.Context(), "SELECT count(*), count(DISTINCT user_name) FROM orders").Scan(&rows, &users); err != nil || rows != n || users != 2 {
		t.Errorf("%d rows of %d users, %v; want %d of 2", rows, users, err, n)
	}
	t.Logf("%d rows", n)
	if code := p.agent.drain(t); code != 0 {
		t.Errorf("the agent ends with %d", code)
	}
}

// TestTheScriptOfPgBouncer: PgBouncer goes on with the password that it has when a new one
// is refused, and opens new sessions when nothing but the password changes.
func TestTheScriptOfPgBouncer(t *testing.T) {
	t.Parallel()
	p := newPooled(t)
	pool := p.clients()
	value := p.database.run(0, "", "get", string(databaseID))
	edit(t, filepath.Join(p.pooler.Dir, "pgbouncer.ini"), "verify-full", "disable") // with TLS each reload replaces the sessions
	if err := p.take(value); err != nil {
		t.Fatal(err)
	}
	user, pid := p.session(pool)
	if err := p.take(strings.Replace(value, "Existing.Password-0123", "Another.Password", 1)); err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("a password that the server refuses: err %v", err)
	}
	if u, same := p.session(pool); u != user || same != pid {
		t.Errorf("after a refused password: session %d of %s, want %d of %s", same, u, pid, user)
	}
	const quoted = `It's "one\"; of user=nobody`
	p.server.Exec(t, "postgres", "ALTER ROLE app PASSWORD '"+strings.ReplaceAll(quoted, "'", "''")+"'")
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(quoted)
	if err := p.take(strings.Replace(value, "Existing.Password-0123", escaped, 1)); err != nil {
		t.Fatal(err)
	}
	if u, other := p.session(pool); u != user || other == pid {
		t.Errorf("the session %d of %s is still in use", other, u)
	}
	if err := errors.Join(p.hides(quoted), p.hides("Existing.Password")); err != nil {
		t.Error(err)
	}
}

// hides returns an error if a log has a text.
func (p *pooled) hides(text string) error {
	for name, log := range map[string]string{"PgBouncer": p.pooler.Log(), "the agent": p.agent.out.String()} {
		if strings.Contains(log, text) {
			return fmt.Errorf("the log of %s holds a password", name)
		}
	}
	return nil
}
