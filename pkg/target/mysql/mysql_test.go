package mysql_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/mysql"
	"github.com/tradepulse/rotator/pkg/target/targettest"
)

// TestSuite runs the suite with each strategy, on one server that logs all
// statements.
func TestSuite(t *testing.T) {
	t.Parallel()
	s := serverstest.StartMariaDB(t)
	for _, strategy := range []mysql.Strategy{mysql.Alternating, mysql.Single} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			targettest.Run(t, func(t *testing.T, account string, versions *targettest.Versions) *targettest.Harness {
				return newWorld(t, s, strategy, account, versions).harness(t)
			})
		})
	}
}

// world is an account on a server, and what a test needs around it.
type world struct {
	server   *serverstest.MariaDB
	relay    *serverstest.Relay
	versions *targettest.Versions
	cfg      mysql.Config
	admin    string // as a statement names it
}

var worlds atomic.Int64

func newWorld(t *testing.T, s *serverstest.MariaDB, strategy mysql.Strategy, account string, versions *targettest.Versions) *world {
	t.Helper()
	n := worlds.Add(1)
	w := &world{server: s, relay: serverstest.StartRelay(t, s.Address), versions: versions, admin: fmt.Sprintf("`admin \"%d\"`@`%%`", n)}
	password := fmt.Sprintf("Admin.pass%d.0123456789", n)
	value := secret.NewValue(fmt.Appendf(nil, `{"username":"admin \"%d\"","password":"%s"}`, n, password))
	s.Exec(t, "CREATE USER "+w.admin+" IDENTIFIED BY '"+password+"'",
		"GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO "+w.admin, "GRANT SELECT ON mysql.* TO "+w.admin)
	w.cfg = mysql.Config{
		Endpoints: []string{w.relay.Address}, User: fmt.Sprintf("%s %d", account, n), Strategy: strategy, Read: versions.Read,
		Admin: func(context.Context) (secret.Value, error) { return value, nil },
	}
	return w
}

// target returns a target with changes to its configuration.
func (w *world) target(t *testing.T, change func(*mysql.Config)) *mysql.Target {
	t.Helper()
	cfg := w.cfg
	if change != nil {
		change(&cfg)
	}
	tg, err := mysql.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

func (w *world) harness(t *testing.T) *targettest.Harness {
	t.Helper()
	return &targettest.Harness{
		Spec: secret.Spec{ID: "DB_ID", Store: "main"}, Target: w.target(t, nil), Login: w.login, Password: withPassword,
		LoseAnswers: w.loseAnswers, Log: w.server.Log, Rights: w.rights(),
		Unreachable: func(t *testing.T) target.Target {
			return w.target(t, func(c *mysql.Config) {
				c.Endpoints = []string{net.JoinHostPort("127.0.0.1", fmt.Sprint(serverstest.FreePort(t)))}
			})
		},
	}
}

func withPassword(t *testing.T, v secret.Value, password string) secret.Value {
	t.Helper()
	out, err := v.WithField("/password", password)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// loseAnswers cuts the connection at the packet OK that answers the next change of a
// password.
func (w *world) loseAnswers() {
	before := len(w.server.Log())
	statement := "ALTER USER `" + strings.ReplaceAll(w.cfg.User, "`", "``")
	w.relay.Filter(func(chunk []byte) ([]byte, bool) {
		if !bytes.HasPrefix(chunk, []byte{7, 0, 0, 1, 0}) || !strings.Contains(w.server.Log()[before:], statement) {
			return chunk, true
		}
		go w.relay.Filter(nil)
		return nil, false
	})
}

func (w *world) rights() []targettest.Right {
	right := func(name string, needs func(context.Context, *targettest.Harness, target.Ref) error) targettest.Right {
		run := func(format string) func(t *testing.T) {
			return func(t *testing.T) { w.server.Exec(t, fmt.Sprintf(format, name, w.admin)) }
		}
		return targettest.Right{Name: name, Take: run("REVOKE %s FROM %s"), Give: run("GRANT %s TO %s"), Needs: needs}
	}
	out := []targettest.Right{right("SELECT ON mysql.*", targettest.Apply), right("CREATE USER ON *.*", targettest.Apply)}
	if w.cfg.Strategy == mysql.Alternating {
		out = append(out, right("PROCESS ON *.*", inUse), right("CONNECTION ADMIN ON *.*", w.terminate))
	}
	return out
}

// inUse asks for the sessions of the current version.
func inUse(ctx context.Context, h *targettest.Harness, r target.Ref) error {
	r.Version = "v2"
	return targettest.InUse(ctx, h, r)
}

// terminate has the target end a session.
func (w *world) terminate(ctx context.Context, h *targettest.Harness, r target.Ref) error {
	if err := targettest.Apply(ctx, h, r); err != nil {
		return err
	}
	v, err := w.versions.Read(ctx, "needs")
	if err != nil {
		return err
	}
	s, err := w.login(ctx, v)
	if err != nil {
		return err
	}
	defer s.Close()
	return h.Target.Revoke(ctx, target.Ref{Secret: h.Spec.ID, Version: "needs"}, target.Drain{Terminate: true})
}

type session struct{ conn *serverstest.MariaDBConn }

func (w *world) login(ctx context.Context, v secret.Value) (targettest.Session, error) {
	l, err := target.ParseLogin(v)
	if err != nil {
		return nil, err
	}
	conn, err := serverstest.MariaDBLogin(ctx, w.server.Address, l.Username, l.Password)
	if err != nil {
		return nil, err
	}
	return session{conn}, nil
}

func (s session) Address() string { return s.conn.Client }

func (s session) Use(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, "SELECT 1")
	return err
}

func (s session) Begin(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
	return err
}

func (s session) Close() { _ = s.conn.Close() }

// TestNames: what no server can have is refused before it is asked.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, user := range []string{strings.Repeat("x", 123), "space ", "nul\x00", "\xff"} {
		if mysql.CheckNames(user, "") == nil {
			t.Errorf("%q is accepted", user)
		}
	}
	if err := mysql.CheckNames("app", "dual"); err == nil {
		t.Error("an unknown strategy is accepted")
	}
	if err := mysql.CheckNames(strings.Repeat("x", 122), ""); err != nil {
		t.Error(err)
	}
}
