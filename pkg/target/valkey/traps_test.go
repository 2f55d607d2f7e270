package valkey_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/targettest"
	"github.com/tradepulse/rotator/pkg/target/valkey"
)

// TestTraps has the traps of this server alone: each is a fault that other tools have
// been reported with.
func TestTraps(t *testing.T) {
	t.Parallel()
	s := serverstest.StartValkey(t, true)
	for name, run := range map[string]func(*testing.T, *world){
		"the next user has the same permissions": permissions,
		"a node that forgets":                    withoutFile,
		"every node has a list of its own":       everyNode,
		"TLS never falls back to plain":          strictTLS,
		"of two passwords the use is unknown":    twoPasswords,
		"a late worker brings no password back":  lateApply,
		"a value that names another user":        foreignUser,
		"a session of a user that was reused":    reusedUser,
		"without a value only older hashes go":   withoutValue,
		"a version that cannot be read":          unread,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newWorld(t, s, valkey.Alternating, strings.Fields(name)[1], &targettest.Versions{}))
		})
	}
}

var spec = secret.Spec{ID: "CACHE_ID", Store: "main"}

func ref(v secret.VersionID) target.Ref { return target.Ref{Secret: spec.ID, Version: v} }

// apply makes a value for a version and applies it.
func (w *world) apply(t *testing.T, tg *valkey.Target, from, to secret.VersionID) (target.Login, error) {
	t.Helper()
	v, err := tg.Propose(t.Context(), w.versions.Change(spec, from, ""))
	if err != nil {
		t.Fatal(err)
	}
	w.versions.Put(to, v)
	l, err := target.ParseLogin(v)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tg.Apply(t.Context(), w.versions.Change(spec, from, to))
	return l, err
}

// rotate takes the secret from a version to the next and returns its login.
func (w *world) rotate(t *testing.T, tg *valkey.Target, from, to secret.VersionID) target.Login {
	t.Helper()
	l, err := w.apply(t, tg, from, to)
	if err := errors.Join(err, tg.Verify(t.Context(), w.versions.Change(spec, from, to))); err != nil {
		t.Fatal(err)
	}
	w.versions.Promote(to)
	return l
}

// as runs a command with a login.
func as(address string, l target.Login, command ...string) error {
	conn, err := serverstest.ValkeyLogin(address, l.Username, l.Password)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Do(command...)
	return err
}

func permissions(t *testing.T, w *world) {
	tg, user := w.target(t, nil), w.cfg.User
	w.server.Do(t, "ACL", "SETUSER", user, "on", ">Exists.before.0123456789", "~data:*", "%R~read:*", "&news", "-@all", "+get", "+set", "(+incr ~count:*)")
	w.versions.Put("v1", secret.NewValue(fmt.Appendf(nil, `{"username":%q,"password":"Exists.before.0123456789","masterarn":"arn"}`, user)))
	w.versions.Promote("v1")
	for _, c := range [][2]secret.VersionID{{"v1", "v2"}, {"v2", "v3"}} {
		l := w.rotate(t, tg, c[0], c[1])
		for _, ok := range []string{"SET data:a 1", "GET read:a", "INCR count:a"} {
			if err := as(w.server.Address, l, strings.Fields(ok)...); err != nil {
				t.Errorf("%s as %s: %v", ok, l.Username, err)
			}
		}
		for _, no := range []string{"SET read:a 1", "INCR data:a", "GET other", "DEL data:a"} {
			if err := as(w.server.Address, l, strings.Fields(no)...); err == nil || !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("%s as %s: %v", no, l.Username, err)
			}
		}
	}
	w.server.Do(t, "ACL", "SETUSER", user, "-get")
	if err := as(w.server.Address, w.rotate(t, tg, "v3", "v4"), "GET", "data:a"); err == nil {
		t.Error("a permission that was taken from one user came with the next")
	}
}

func withoutFile(t *testing.T, w *world) {
	forgets := newWorld(t, serverstest.StartValkey(t, false), valkey.Alternating, "app", w.versions)
	tg := forgets.target(t, nil)
	if _, err := forgets.apply(t, tg, "", "v1"); err == nil || !strings.Contains(err.Error(), "aclfile") {
		t.Errorf("Apply() on a node that forgets: %v", err)
	}
	if got := forgets.server.Do(t, "ACL", "USERS"); strings.Contains(got, forgets.cfg.User) {
		t.Error("the refused change was made")
	}
	if report, err := tg.Check(t.Context()); err != nil || report.Ready() || !strings.Contains(fmt.Sprint(report.Traps), "aclfile") {
		t.Errorf("Check() = %+v, %v", report, err)
	}
}

func everyNode(t *testing.T, w *world) {
	other := serverstest.StartValkey(t, true)
	admin, err := w.cfg.Admin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l, err := target.ParseLogin(admin)
	if err != nil {
		t.Fatal(err)
	}
	other.Do(t, "ACL", "SETUSER", l.Username, "on", ">"+l.Password, "+acl", "+client")
	nodes := []string{w.server.Address, other.Address}
	tg := w.target(t, func(c *valkey.Config) { c.Endpoints = nodes })
	first := w.rotate(t, tg, "", "v1")
	other.Restart(t)
	for _, address := range nodes {
		if err := as(address, first, "PING"); err != nil && !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s: %v", address, err)
		}
	}
	held, err := serverstest.ValkeyLogin(other.Address, first.Username, first.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	w.rotate(t, tg, "v1", "v2")
	if u, err := tg.InUse(t.Context(), ref("v1")); err != nil || len(u.Sessions) != 1 || u.Sessions[0].Client != held.Client() {
		t.Errorf("InUse() = %+v, %v; want the session at the second node", u, err)
	}
	if err := tg.Revoke(t.Context(), ref("v1"), target.Drain{Terminate: true}); err != nil {
		t.Fatal(err)
	}
	for _, address := range nodes {
		if err := as(address, first, "PING"); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Errorf("%s: the revoked value: %v", address, err)
		}
	}
}

// strictTLS: a server that speaks without TLS, or an attacker in its place.
func strictTLS(t *testing.T, w *world) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1)
	go func() {
		defer close(heard)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 4096)
		n, _ := conn.Read(b) // what came before an error counts
		heard <- string(b[:n])
		_, _ = conn.Write([]byte("-ERR no TLS here\r\n")) // the client may be gone
	}()
	secure := w.target(t, func(c *valkey.Config) {
		c.TLS, c.Endpoints = &tls.Config{MinVersion: tls.VersionTLS13}, []string{l.Addr().String()}
	})
	if _, err := secure.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("a target that wants TLS, without: %v", err)
	}
	if got := <-heard; strings.Contains(got, "AUTH") {
		t.Error("a login was sent in the clear")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func twoPasswords(t *testing.T, w *world) {
	tg := w.target(t, func(c *valkey.Config) { c.Strategy = valkey.Single })
	if c := tg.Capabilities(); c.InUse != target.InUseUnknown || c.Drains {
		t.Errorf("Capabilities() = %+v", c)
	}
	if u, err := tg.InUse(t.Context(), ref("v1")); !errors.Is(err, target.ErrUnsupported) {
		t.Errorf("InUse() = %+v, %v", u, err)
	}
	if report, err := tg.Check(t.Context()); err != nil || !strings.Contains(fmt.Sprint(report.Notes), "unknown") {
		t.Errorf("Check() = %+v, %v", report, err)
	}
}

func lateApply(t *testing.T, w *world) {
	tg := w.target(t, func(c *valkey.Config) { c.Strategy = valkey.Single })
	first := w.rotate(t, tg, "", "v1")
	w.rotate(t, tg, "v1", "v2")
	if err := tg.Revoke(t.Context(), ref("v1"), target.Drain{}); err != nil {
		t.Fatal(err)
	}
	if _, err := tg.Apply(t.Context(), w.versions.Change(spec, "v1", "v2")); err != nil {
		t.Fatal(err)
	}
	if err := as(w.server.Address, first, "PING"); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("the revoked password: %v", err)
	}
}

func foreignUser(t *testing.T, w *world) {
	tg := w.target(t, nil)
	w.rotate(t, tg, "", "v1")
	w.versions.Put("v2", secret.NewValue([]byte(`{"username":"root","password":"Taken.over.0123456789"}`)))
	if _, err := tg.Apply(t.Context(), w.versions.Change(spec, "v1", "v2")); !errors.Is(err, target.ErrRejected) {
		t.Errorf("a value for the user root: %v", err)
	}
}

// reusedUser: an emergency gave the user to a third version while a session of the
// first was open.
func reusedUser(t *testing.T, w *world) {
	tg := w.target(t, nil)
	w.rotate(t, tg, "", "v1")
	w.rotate(t, tg, "v1", "v2")
	w.rotate(t, tg, "v2", "v3")
	if u, err := tg.InUse(t.Context(), ref("v1")); !errors.Is(err, target.ErrUnsupported) {
		t.Errorf("InUse() = %+v, %v; want that it is unknown", u, err)
	}
}

// withoutValue: a version whose value is gone is revoked while a later one is pending.
func withoutValue(t *testing.T, w *world) {
	tg := w.target(t, func(c *valkey.Config) { c.Strategy = valkey.Single })
	first := w.rotate(t, tg, "", "v1")
	current := w.rotate(t, tg, "v1", "v2")
	pending, err := w.apply(t, tg, "v2", "v3")
	if err != nil {
		t.Fatal(err)
	}
	if err := tg.Revoke(t.Context(), ref("v0"), target.Drain{}); err != nil {
		t.Fatal(err)
	}
	for l, works := range map[target.Login]bool{first: false, current: true, pending: true} {
		if err := as(w.server.Address, l, "PING"); strings.Contains(fmt.Sprint(err), "WRONGPASS") == works {
			t.Errorf("a password that has to work (%t): %v", works, err)
		}
	}
}

// unread: a version that cannot be read is not looked for as one whose value is gone.
func unread(t *testing.T, w *world) {
	for strategy, refused := range map[valkey.Strategy]func(*valkey.Target) map[string]error{
		valkey.Alternating: func(tg *valkey.Target) map[string]error {
			_, err := tg.InUse(t.Context(), ref("v1"))
			return map[string]error{"in use": err, "end": tg.End(t.Context(), ref("v1"), false), "suspend": tg.Suspend(t.Context(), ref("v1"))}
		},
		valkey.Single: func(tg *valkey.Target) map[string]error {
			return map[string]error{"suspend": tg.Suspend(t.Context(), ref("v1"))}
		},
	} {
		one := newWorld(t, w.server, strategy, "unread", &targettest.Versions{})
		tg := one.target(t, nil)
		first := one.rotate(t, tg, "", "v1")
		one.rotate(t, tg, "v1", "v2")
		one.versions.Hide("v1", true)
		for what, err := range refused(tg) {
			if !errors.Is(err, targettest.ErrUnread) {
				t.Errorf("%s, %s: %v, want the error of the read", strategy, what, err)
			}
		}
		if err := as(one.server.Address, first, "PING"); strings.Contains(fmt.Sprint(err), "WRONGPASS") {
			t.Errorf("%s: the version does not work any more: %v", strategy, err)
		}
	}
}

// TestNames: what no server can have is refused before it is asked.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"a b", "a\n", "nul\x00", "\xff"} {
		if valkey.CheckNames(user, "") == nil {
			t.Errorf("%q is accepted", user)
		}
	}
	if valkey.CheckNames("app", "dual") == nil {
		t.Error("an unknown strategy is accepted")
	}
}

// TestALogThatMayNotBeRead: an admin without the right to read the log suspends all the
// same, cannot tell who was refused, and the check says so.
func TestALogThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	s := serverstest.StartValkey(t, true)
	w := newWorld(t, s, valkey.Alternating, "app", &targettest.Versions{})
	s.Do(t, "ACL", "SETUSER", w.admin, "-acl|log")
	tg := w.target(t, nil)
	value := func(name string) secret.Value {
		return secret.NewValue(fmt.Appendf(nil, `{"username":%q,"password":"Some-Password-0123456789"}`, name))
	}
	w.versions.Put("v1", value(w.cfg.User))
	w.versions.Put("v2", value(w.cfg.User+"_clone"))
	w.versions.Promote("v2")
	s.Do(t, "ACL", "SETUSER", w.cfg.User, "on", ">Some-Password-0123456789")
	ref := target.Ref{Secret: "CACHE_ID", Version: "v1"}
	if err := tg.Suspend(t.Context(), ref); err != nil {
		t.Error(err)
	}
	if got, err := tg.Refused(t.Context(), ref, time.Hour); !errors.Is(err, target.ErrUnsupported) || len(got) > 0 {
		t.Errorf("refused: %+v, %v", got, err)
	}
	r, err := tg.Check(t.Context())
	if err != nil || !r.Ready() || !strings.Contains(strings.Join(r.Notes, "\n"), "acl|log") {
		t.Errorf("Check() = %+v, %v", r, err)
	}
}
