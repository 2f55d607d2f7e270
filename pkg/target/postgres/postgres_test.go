package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/postgres"
	"github.com/tradepulse/rotator/pkg/target/targettest"
)

// TestSuite runs the suite with each strategy, on one server that logs all
// statements.
func TestSuite(t *testing.T) {
	t.Parallel()
	s := serverstest.StartPostgres(t)
	for _, strategy := range []postgres.Strategy{postgres.Alternating, postgres.Single} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			targettest.Run(t, func(t *testing.T, account string, versions *targettest.Versions) *targettest.Harness {
				return newWorld(t, s, strategy, account, versions).harness()
			})
		})
	}
}

// world is an account on a server, and what a test needs around it.
type world struct {
	server   *serverstest.Postgres
	relay    *serverstest.Relay
	versions *targettest.Versions
	cfg      postgres.Config
	admin    string
}

var worlds atomic.Int64

func newWorld(t *testing.T, s *serverstest.Postgres, strategy postgres.Strategy, account string, versions *targettest.Versions) *world {
	t.Helper()
	n := worlds.Add(1)
	address := net.JoinHostPort(s.Host, fmt.Sprint(s.Port))
	w := &world{server: s, relay: serverstest.StartRelay(t, address), versions: versions, admin: fmt.Sprintf(`admin "%d"`, n)}
	password := fmt.Sprintf("Admin.pass%d.0123456789", n)
	user := fmt.Sprintf("%s %d", account, n)
	value := secret.NewValue(fmt.Appendf(nil, `{"username":"admin \"%d\"","password":"%s"}`, n, password))
	s.Exec(t, "postgres", fmt.Sprintf("CREATE ROLE %s LOGIN CREATEROLE PASSWORD '%s'", quote(w.admin), password),
		"GRANT pg_read_all_stats, pg_signal_backend TO "+quote(w.admin))
	w.cfg = postgres.Config{
		Endpoints: []string{w.relay.Address}, User: user, Strategy: strategy, Read: versions.Read,
		Admin: func(context.Context) (secret.Value, error) { return value, nil },
	}
	if strategy == postgres.Alternating {
		owner := quote(user + "_owner")
		s.Exec(t, "postgres", "CREATE ROLE "+owner+" NOLOGIN", "GRANT "+owner+" TO "+quote(w.admin)+" WITH ADMIN OPTION")
	}
	return w
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// target returns a target with changes to its configuration.
func (w *world) target(t *testing.T, change func(*postgres.Config)) *postgres.Target {
	t.Helper()
	cfg := w.cfg
	if change != nil {
		change(&cfg)
	}
	tg, err := postgres.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

func (w *world) harness() *targettest.Harness {
	tg, err := postgres.New(w.cfg)
	if err != nil {
		panic(err)
	}
	return &targettest.Harness{
		Spec: secret.Spec{ID: "DB_ID", Store: "main"}, Target: tg, Login: w.login, Password: withPassword, Refused: nameAsPassword,
		LoseAnswers: w.loseAnswers, Log: w.server.Log, Rights: w.rights(),
		Unreachable: func(t *testing.T) target.Target {
			return w.target(t, func(c *postgres.Config) {
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

// nameAsPassword returns a login that passwordcheck refuses.
func nameAsPassword(t *testing.T, v secret.Value) secret.Value {
	t.Helper()
	l, err := target.ParseLogin(v)
	if err != nil {
		t.Fatal(err)
	}
	return withPassword(t, v, l.Username)
}

// loseAnswers cuts the connection when the server says that it has committed.
func (w *world) loseAnswers() {
	w.relay.Filter(func(chunk []byte) ([]byte, bool) {
		if !bytes.Contains(chunk, []byte("COMMIT\x00")) {
			return chunk, true
		}
		go w.relay.Filter(nil)
		return nil, false
	})
}

func (w *world) rights() []targettest.Right {
	grant := func(sql string) func(t *testing.T) {
		return func(t *testing.T) { w.server.Exec(t, "postgres", fmt.Sprintf(sql, quote(w.admin))) }
	}
	out := []targettest.Right{
		{Name: "CREATEROLE", Take: grant("ALTER ROLE %s NOCREATEROLE"), Give: grant("ALTER ROLE %s CREATEROLE"), Needs: targettest.Apply},
		{Name: "pg_read_all_stats", Take: grant("REVOKE pg_read_all_stats FROM %s"), Give: grant("GRANT pg_read_all_stats TO %s"), Needs: targettest.InUse},
	}
	if w.cfg.Strategy == postgres.Single {
		return out
	}
	return append(out, targettest.Right{
		Name: "pg_signal_backend", Take: grant("REVOKE pg_signal_backend FROM %s"), Give: grant("GRANT pg_signal_backend TO %s"), Needs: w.terminate,
	})
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

type session struct{ conn *pgx.Conn }

func (w *world) login(ctx context.Context, v secret.Value) (targettest.Session, error) {
	l, err := target.ParseLogin(v)
	if err != nil {
		return nil, err
	}
	conn, err := serverstest.PostgresLogin(ctx, net.JoinHostPort(w.server.Host, fmt.Sprint(w.server.Port)), l.Username, l.Password, "postgres")
	if err != nil {
		return nil, err
	}
	return session{conn}, nil
}

func (s session) Address() string { return s.conn.PgConn().Conn().LocalAddr().String() }

func (s session) Use(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, "SELECT 1")
	return err
}

func (s session) Begin(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, "BEGIN")
	return err
}

func (s session) Close() { _ = s.conn.Close(context.Background()) }
