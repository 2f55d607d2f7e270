package mysql_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/mysql"
	"github.com/tradepulse/rotator/pkg/target/targettest"
)

// TestTraps has the traps of this server alone: each is a fault that other tools have
// been reported with.
func TestTraps(t *testing.T) {
	t.Parallel()
	s := serverstest.StartMariaDB(t)
	for name, run := range map[string]func(*testing.T, *world){
		"the next account has every grant":        grants,
		"a grant that the admin may not pass on":  withoutGrantOption,
		"an account for several hosts":            hosts,
		"TLS never falls back to plain":           strictTLS,
		"behind a pooler the use is unknown":      pooler,
		"of two passwords the use is unknown":     twoPasswords,
		"a late worker brings no password back":   lateApply,
		"a value that names another account":      foreignAccount,
		"an admin that rotates itself":            selfRotation,
		"a session of an account that was reused": reusedAccount,
		"a version that cannot be read":           unread,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newWorld(t, s, mysql.Alternating, strings.Fields(name)[1], &targettest.Versions{}))
		})
	}
}

var spec = secret.Spec{ID: "DB_ID", Store: "main"}

// apply makes a value for a version and applies it.
func (w *world) apply(t *testing.T, tg *mysql.Target, from, to secret.VersionID) (target.Login, error) {
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
func (w *world) rotate(t *testing.T, tg *mysql.Target, from, to secret.VersionID) target.Login {
	t.Helper()
	l, err := w.apply(t, tg, from, to)
	if err := errors.Join(err, tg.Verify(t.Context(), w.versions.Change(spec, from, to))); err != nil {
		t.Fatal(err)
	}
	w.versions.Promote(to)
	return l
}

// as runs a statement with a login.
func (w *world) as(t *testing.T, l target.Login, statement string) error {
	t.Helper()
	conn, err := serverstest.MariaDBLogin(t.Context(), w.server.Address, l.Username, l.Password)
	if err != nil {
		return err
	}
	defer session{conn}.Close()
	_, err = conn.Exec(t.Context(), statement)
	return err
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func grants(t *testing.T, w *world) {
	tg := w.target(t, nil)
	user, db, role := quote(w.cfg.User)+"@`%`", quote("data `of` "+w.cfg.User), quote("role "+w.cfg.User)
	w.server.Exec(t, "CREATE DATABASE "+db, "CREATE TABLE "+db+".a (id INT, other INT)", "CREATE TABLE "+db+".b (id INT)", "CREATE ROLE "+role,
		"CREATE USER "+user+" IDENTIFIED BY 'Exists.before.0123456789' WITH MAX_USER_CONNECTIONS 7",
		"GRANT SELECT (id), INSERT ON "+db+".a TO "+user+" WITH GRANT OPTION", "GRANT SELECT ON "+db+".b TO "+role, "GRANT "+role+" TO "+user, "SET DEFAULT ROLE "+role+" FOR "+user,
		"GRANT SELECT, INSERT ON "+db+".a TO "+w.admin+" WITH GRANT OPTION", "GRANT "+role+" TO "+w.admin+" WITH ADMIN OPTION", "GRANT UPDATE ON mysql.* TO "+w.admin)
	w.versions.Put("v1", secret.NewValue(fmt.Appendf(nil, `{"engine":"mariadb","host":"db","port":"3306","username":%q,"password":"Exists.before.0123456789","masterarn":"arn"}`, w.cfg.User)))
	w.versions.Promote("v1")
	if !strings.Contains(w.server.Log(), "Exists.before") {
		t.Error("the log of the server does not hold what was sent as plain text: it proves nothing")
	}
	for _, c := range [][2]secret.VersionID{{"v1", "v2"}, {"v2", "v3"}} {
		l := w.rotate(t, tg, c[0], c[1])
		for _, ok := range []string{"SELECT id FROM " + db + ".a", "INSERT INTO " + db + ".a VALUES (1, 2)", "SELECT id FROM " + db + ".b"} {
			if err := w.as(t, l, ok); err != nil {
				t.Errorf("%s as %s: %v", ok, l.Username, err)
			}
		}
		if err := w.as(t, l, "SELECT other FROM "+db+".a"); err == nil {
			t.Errorf("%s may read a column that was not granted", l.Username)
		}
	}
	conn, err := serverstest.MariaDBLogin(t.Context(), w.server.Address, w.server.User, w.server.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer session{conn}.Close()
	if shown := conn.Text(t, "SHOW CREATE USER "+quote(w.cfg.User+"_clone")+"@`%`"); !strings.Contains(shown, "MAX_USER_CONNECTIONS 7") {
		t.Errorf("the limits of the account are not those of the first: %s", shown)
	}
}

func withoutGrantOption(t *testing.T, w *world) {
	tg := w.target(t, nil)
	first := w.rotate(t, tg, "", "v1")
	w.server.Exec(t, "GRANT SELECT ON test_only.* TO "+quote(first.Username)+"@`%`")
	if _, err := w.apply(t, tg, "v1", "v2"); err == nil || !strings.Contains(err.Error(), "GRANT SELECT ON `test_only`.*") || errors.Is(err, target.ErrRejected) {
		t.Errorf("Apply() = %v, want an error that names the grant", err)
	}
}

func hosts(t *testing.T, w *world) {
	tg := w.target(t, nil)
	for _, host := range []string{"127.0.0.1", "192.0.2.%"} {
		w.server.Exec(t, "CREATE USER "+quote(w.cfg.User)+"@'"+host+"' IDENTIFIED BY 'Exists.before.0123456789'")
	}
	first := w.rotate(t, tg, "", "v1")
	second := w.rotate(t, tg, "v1", "v2")
	if err := w.as(t, second, "SELECT 1"); err != nil {
		t.Error(err)
	}
	conn, err := serverstest.MariaDBLogin(t.Context(), w.server.Address, w.server.User, w.server.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer session{conn}.Close()
	for _, l := range []target.Login{first, second} {
		if got := conn.Text(t, "SELECT group_concat(Host ORDER BY Host) FROM mysql.global_priv WHERE User = '"+l.Username+"'"); got != "127.0.0.1,192.0.2.%" {
			t.Errorf("%s has the hosts %s", l.Username, got)
		}
		if got := conn.Text(t, "SELECT count(DISTINCT JSON_VALUE(Priv, '$.authentication_string')) FROM mysql.global_priv WHERE User = '"+l.Username+"'"); got != "1" {
			t.Errorf("%s has %s passwords", l.Username, got)
		}
	}
}

func strictTLS(t *testing.T, w *world) {
	secure := func(endpoint string) *mysql.Target {
		return w.target(t, func(c *mysql.Config) { c.TLS, c.Endpoints = w.server.TLS(t), []string{endpoint} })
	}
	w.rotate(t, secure(w.server.Address), "", "v1")
	w.relay.Filter(func(chunk []byte) ([]byte, bool) { // a server that has no TLS, or an attacker who takes it away
		if len(chunk) > 40 && chunk[4] == 10 { // its greeting: the flag CLIENT_SSL is in the second byte of the capabilities
			end := 5 + bytes.IndexByte(chunk[5:], 0)
			chunk[end+1+4+8+1+1] &^= 0x08
		}
		return chunk, true
	})
	if _, err := secure(w.relay.Address).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("a target that wants TLS, without: %v", err)
	}
	stranger := w.target(t, func(c *mysql.Config) {
		c.TLS, c.Endpoints = w.server.TLS(t), []string{w.server.Address}
		c.TLS.RootCAs = nil
	})
	if _, err := stranger.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
}

func pooler(t *testing.T, w *world) {
	unknown(t, w.target(t, func(c *mysql.Config) { c.Pooler = true }))
}

func twoPasswords(t *testing.T, w *world) {
	unknown(t, w.target(t, func(c *mysql.Config) { c.Strategy = mysql.Single }))
}

// unknown fails the test unless a target says that it cannot tell who uses a version.
func unknown(t *testing.T, tg *mysql.Target) {
	t.Helper()
	if c := tg.Capabilities(); c.InUse != target.InUseUnknown || c.Drains {
		t.Errorf("Capabilities() = %+v", c)
	}
	if u, err := tg.InUse(t.Context(), target.Ref{Secret: spec.ID, Version: "v1"}); !errors.Is(err, target.ErrUnsupported) {
		t.Errorf("InUse() = %+v, %v", u, err)
	}
	if report, err := tg.Check(t.Context()); err != nil || !strings.Contains(fmt.Sprint(report.Notes), "unknown") {
		t.Errorf("Check() = %+v, %v", report, err)
	}
}

// unread: a version that cannot be read is not looked for as one whose value is gone.
func unread(t *testing.T, w *world) {
	ref := target.Ref{Secret: spec.ID, Version: "v1"}
	for strategy, refused := range map[mysql.Strategy]func(*mysql.Target) map[string]error{
		mysql.Alternating: func(tg *mysql.Target) map[string]error {
			_, err := tg.InUse(t.Context(), ref)
			return map[string]error{"in use": err, "end": tg.End(t.Context(), ref, false), "suspend": tg.Suspend(t.Context(), ref)}
		},
		mysql.Single: func(tg *mysql.Target) map[string]error {
			return map[string]error{"suspend": tg.Suspend(t.Context(), ref), "resume": tg.Resume(t.Context(), ref)}
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
		if err := one.as(t, first, "SELECT 1"); err != nil {
			t.Errorf("%s: the version does not work any more: %v", strategy, err)
		}
	}
}

func lateApply(t *testing.T, w *world) {
	tg := w.target(t, func(c *mysql.Config) { c.Strategy = mysql.Single })
	first := w.rotate(t, tg, "", "v1")
	w.rotate(t, tg, "v1", "v2")
	if err := tg.Revoke(t.Context(), target.Ref{Secret: spec.ID, Version: "v1"}, target.Drain{}); err != nil {
		t.Fatal(err)
	}
	if _, err := tg.Apply(t.Context(), w.versions.Change(spec, "v1", "v2")); err != nil {
		t.Fatal(err)
	}
	if err := w.as(t, first, "SELECT 1"); err == nil {
		t.Error("the revoked password works again")
	}
}

func foreignAccount(t *testing.T, w *world) {
	tg := w.target(t, nil)
	w.rotate(t, tg, "", "v1")
	w.versions.Put("v2", secret.NewValue([]byte(`{"username":"root","password":"Taken.over.0123456789"}`)))
	if _, err := tg.Apply(t.Context(), w.versions.Change(spec, "v1", "v2")); !errors.Is(err, target.ErrRejected) {
		t.Errorf("a value for the account root: %v", err)
	}
}

// selfRotation: the admin's own password is rotated by itself.
func selfRotation(t *testing.T, w *world) {
	user := quote(w.cfg.User) + "@`%`"
	w.server.Exec(t, "CREATE USER "+user+" IDENTIFIED BY 'Before.0123456789'", "GRANT CREATE USER ON *.* TO "+user, "GRANT SELECT ON mysql.* TO "+user)
	w.versions.Put("v1", secret.NewValue(fmt.Appendf(nil, `{"username":%q,"password":"Before.0123456789"}`, w.cfg.User)))
	w.versions.Promote("v1")
	tg := w.target(t, func(c *mysql.Config) { c.Strategy, c.Admin = mysql.Single, w.versions.Current })
	w.rotate(t, tg, "v1", "v2")
	if err := tg.Revoke(t.Context(), target.Ref{Secret: spec.ID, Version: "v1"}, target.Drain{}); err != nil {
		t.Errorf("revoke: %v", err)
	}
}

// reusedAccount: an emergency gave the account to a third version while a session of
// the first was open.
func reusedAccount(t *testing.T, w *world) {
	tg := w.target(t, nil)
	w.rotate(t, tg, "", "v1")
	w.rotate(t, tg, "v1", "v2")
	w.rotate(t, tg, "v2", "v3")
	if u, err := tg.InUse(t.Context(), target.Ref{Secret: spec.ID, Version: "v1"}); !errors.Is(err, target.ErrUnsupported) {
		t.Errorf("InUse() = %+v, %v; want that it is unknown", u, err)
	}
}
