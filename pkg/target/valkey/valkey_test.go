package valkey_test

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
	"github.com/tradepulse/rotator/pkg/target/targettest"
	"github.com/tradepulse/rotator/pkg/target/valkey"
)

// TestSuite runs the suite with each strategy, on one server that tells of every
// command.
func TestSuite(t *testing.T) {
	t.Parallel()
	s := serverstest.StartValkey(t, true)
	for _, strategy := range []valkey.Strategy{valkey.Alternating, valkey.Single} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			targettest.Run(t, func(t *testing.T, account string, versions *targettest.Versions) *targettest.Harness {
				return newWorld(t, s, strategy, account, versions).harness(t)
			})
		})
	}
}

// world is a user on a server, and what a test needs around it.
type world struct {
	server   *serverstest.Valkey
	relay    *serverstest.Relay
	versions *targettest.Versions
	cfg      valkey.Config
	admin    string
}

var worlds atomic.Int64

func newWorld(t *testing.T, s *serverstest.Valkey, strategy valkey.Strategy, account string, versions *targettest.Versions) *world {
	t.Helper()
	n := worlds.Add(1)
	w := &world{server: s, relay: serverstest.StartRelay(t, s.Address), versions: versions, admin: fmt.Sprintf(`admin"%d"`, n)}
	password := fmt.Sprintf("Admin.pass%d.0123456789", n)
	value := secret.NewValue(fmt.Appendf(nil, `{"username":"admin\"%d\"","password":"%s"}`, n, password))
	s.Do(t, "ACL", "SETUSER", w.admin, "on", ">"+password, "+acl|save", "+acl|getuser", "+acl|setuser", "+acl|log", "+client|list", "+client|kill")
	w.cfg = valkey.Config{
		// A name has no spaces.
		Endpoints: []string{w.relay.Address}, User: fmt.Sprintf("%s_%d", strings.ReplaceAll(account, " ", "_"), n), Strategy: strategy, Read: versions.Read,
		Admin: func(context.Context) (secret.Value, error) { return value, nil },
	}
	return w
}

// target returns a target with changes to its configuration.
func (w *world) target(t *testing.T, change func(*valkey.Config)) *valkey.Target {
	t.Helper()
	cfg := w.cfg
	if change != nil {
		change(&cfg)
	}
	tg, err := valkey.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

func (w *world) harness(t *testing.T) *targettest.Harness {
	t.Helper()
	return &targettest.Harness{
		Spec: secret.Spec{ID: "CACHE_ID", Store: "main"}, Target: w.target(t, nil), Login: w.login, Password: withPassword,
		LoseAnswers: w.loseAnswers, Log: w.server.Log, Rights: w.rights(),
		Unreachable: func(t *testing.T) target.Target {
			return w.target(t, func(c *valkey.Config) {
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

// loseAnswers cuts the connection at the second OK: that to ACL SETUSER when a value is
// applied, after ACL SAVE, and that to ACL SAVE when one is revoked.
func (w *world) loseAnswers() {
	n := 0
	w.relay.Filter(func(chunk []byte) ([]byte, bool) {
		if !bytes.Equal(chunk, []byte("+OK\r\n")) {
			return chunk, true
		}
		if n++; n < 2 {
			return chunk, true
		}
		go w.relay.Filter(nil)
		return nil, false
	})
}

func (w *world) rights() []targettest.Right {
	right := func(name string, needs func(context.Context, *targettest.Harness, target.Ref) error) targettest.Right {
		set := func(sign string) func(t *testing.T) {
			return func(t *testing.T) { w.server.Do(t, "ACL", "SETUSER", w.admin, sign+name) }
		}
		return targettest.Right{Name: name, Take: set("-"), Give: set("+"), Needs: needs}
	}
	out := []targettest.Right{right("acl|save", targettest.Apply), right("acl|getuser", targettest.Apply), right("acl|setuser", targettest.Apply)}
	if w.cfg.Strategy == valkey.Alternating {
		out = append(out, right("client|list", inUse), right("client|kill", w.terminate))
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

type session struct {
	conn   *serverstest.ValkeyConn
	server *serverstest.Valkey
	user   string
}

func (w *world) login(_ context.Context, v secret.Value) (targettest.Session, error) {
	l, err := target.ParseLogin(v)
	if err != nil {
		return nil, err
	}
	conn, err := serverstest.ValkeyLogin(w.server.Address, l.Username, l.Password)
	if err != nil {
		return nil, err
	}
	return session{conn, w.server, l.Username}, nil
}

func (s session) Address() string { return s.conn.Client() }

func (s session) Use(context.Context) error {
	if _, err := s.conn.Do("PING"); err != nil && !strings.Contains(err.Error(), "NOPERM") {
		return err
	}
	return nil
}

// Begin gives the user the right to, which it has not by itself.
func (s session) Begin(context.Context) error {
	admin, err := serverstest.ValkeyLogin(s.server.Address, s.server.User, s.server.Password)
	if err != nil {
		return err
	}
	defer admin.Close()
	if _, err := admin.Do("ACL", "SETUSER", s.user, "+multi"); err != nil {
		return err
	}
	_, err = s.conn.Do("MULTI")
	return err
}

func (s session) Close() { s.conn.Close() }
