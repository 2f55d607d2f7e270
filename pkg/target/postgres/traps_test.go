package postgres_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/postgres"
	"github.com/tradepulse/rotator/pkg/target/targettest"
)

// TestTraps has the traps of this server alone: each is a fault that other tools have
// been reported with.
func TestTraps(t *testing.T) {
	t.Parallel()
	s := serverstest.StartPostgres(t)
	for name, run := range map[string]func(*testing.T, *world){
		"what one role makes the next one can change": sharedOwner,
		"an existing user that owns tables":           adoption,
		"TLS never falls back to plain":               strictTLS,
		"behind a pooler the use is unknown":          pooler,
		"a value that names another role":             foreignRole,
		"two secrets of one role":                     twoOwners,
		"a password that clients prepare differently": unprepared,
		"an admin that rotates itself":                selfRotation,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newWorld(t, s, postgres.Alternating, strings.Fields(name)[1], &targettest.Versions{}))
		})
	}
}

var spec = secret.Spec{ID: "DB_ID", Store: "main"}

// rotate takes the secret from a version to the next and returns its login.
func (w *world) rotate(t *testing.T, tg *postgres.Target, from, to secret.VersionID) target.Login {
	t.Helper()
	v, err := tg.Propose(t.Context(), w.versions.Change(spec, from, ""))
	if err != nil {
		t.Fatal(err)
	}
	w.versions.Put(to, v)
	c := w.versions.Change(spec, from, to)
	_, err = tg.Apply(t.Context(), c)
	if err := errors.Join(err, tg.Verify(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	w.versions.Promote(to)
	l, err := target.ParseLogin(v)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// as runs a statement with a login.
func (w *world) as(t *testing.T, l target.Login, statement string) error {
	t.Helper()
	conn, err := serverstest.PostgresLogin(t.Context(), net.JoinHostPort(w.server.Host, fmt.Sprint(w.server.Port)), l.Username, l.Password, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer session{conn}.Close()
	_, err = conn.Exec(t.Context(), statement)
	return err
}

func sharedOwner(t *testing.T, w *world) {
	tg := w.target(t, nil)
	schema := quote(w.cfg.User)
	w.server.Exec(t, "postgres", "CREATE SCHEMA "+schema+" AUTHORIZATION "+quote(w.cfg.User+"_owner"))
	first := w.rotate(t, tg, "", "v1")
	if err := w.as(t, first, "CREATE TABLE "+schema+".made_by_the_first (id int)"); err != nil {
		t.Fatal(err)
	}
	second := w.rotate(t, tg, "v1", "v2")
	if first.Username == second.Username {
		t.Fatalf("both versions have the user %q", first.Username)
	}
	if err := w.as(t, second, "ALTER TABLE "+schema+".made_by_the_first ADD COLUMN name text"); err != nil {
		t.Errorf("the second role cannot change what the first has made: %v", err)
	}
}

func adoption(t *testing.T, w *world) {
	tg := w.target(t, nil)
	user, schema := quote(w.cfg.User), quote(w.cfg.User)
	w.server.Exec(t, "postgres", "CREATE ROLE "+user+" LOGIN PASSWORD 'Exists.before.0123456789'", "CREATE SCHEMA "+schema+" AUTHORIZATION "+user,
		"CREATE TABLE "+schema+".data (id int)", "ALTER TABLE "+schema+".data OWNER TO "+user)
	w.versions.Put("v1", secret.NewValue(fmt.Appendf(nil, `{"engine":"postgres","host":"db","port":"5432","username":%q,"password":"Exists.before.0123456789","dbname":"postgres","masterarn":"arn"}`, w.cfg.User)))
	w.versions.Promote("v1")
	report, err := tg.Check(t.Context())
	if err != nil || report.Ready() || !strings.Contains(fmt.Sprint(report.Traps), "ownership trap") {
		t.Fatalf("Check() = %+v, %v; want the ownership trap", report, err)
	}
	v, err := tg.Propose(t.Context(), w.versions.Change(spec, "v1", ""))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(v.Reveal()); !strings.Contains(text, `"port":"5432"`) || !strings.Contains(text, `"masterarn":"arn"`) || !strings.Contains(text, w.cfg.User+`_clone"`) {
		t.Error("the document has not kept its other fields")
	}
	w.versions.Put("v2", v)
	if _, err := tg.Apply(t.Context(), w.versions.Change(spec, "v1", "v2")); err == nil || !strings.Contains(err.Error(), "rotator target check") {
		t.Errorf("Apply() in the trap: %v, want a refusal that names the command", err)
	}
	for _, statement := range report.Setup {
		w.server.Exec(t, "postgres", statement)
	}
	for _, missing := range report.Missing { // from version 16 on: ADMIN OPTION on the user that was there before
		_, statement, _ := strings.Cut(missing, ": '")
		w.server.Exec(t, "postgres", strings.TrimSuffix(statement, "'"))
	}
	if report, err = tg.Check(t.Context()); err != nil || !report.Ready() || len(report.Setup) > 0 {
		t.Errorf("Check() after its SQL has run = %+v, %v", report, err)
	}
	if !strings.Contains(w.server.Log(), "Exists.before") {
		t.Error("the log of the server does not hold what was sent as plain text: it proves nothing")
	}
	if err := w.as(t, w.rotate(t, tg, "v1", "v3"), "ALTER TABLE "+schema+".data ADD COLUMN name text"); err != nil {
		t.Error(err)
	}
}

func strictTLS(t *testing.T, w *world) {
	direct := net.JoinHostPort(w.server.Host, fmt.Sprint(w.server.Port))
	secure := func(endpoint string) *postgres.Target {
		return w.target(t, func(c *postgres.Config) { c.TLS, c.Endpoints = w.server.TLS(t), []string{endpoint} })
	}
	w.rotate(t, secure(direct), "", "v1")
	w.relay.Filter(func(chunk []byte) ([]byte, bool) { // a server that has no TLS, or somebody who takes it away
		if len(chunk) == 1 && chunk[0] == 'S' {
			return []byte{'N'}, true
		}
		return chunk, true
	})
	if _, err := secure(w.relay.Address).Check(t.Context()); err == nil {
		t.Error("a target that wants TLS has logged in without")
	}
	w.relay.Filter(nil)
	stranger := w.target(t, func(c *postgres.Config) { c.TLS = w.server.TLS(t); c.TLS.RootCAs = nil })
	if _, err := stranger.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: err %v", err)
	}
}

func pooler(t *testing.T, w *world) {
	w.rotate(t, w.target(t, nil), "", "v1")
	ref := target.Ref{Secret: spec.ID, Version: "v1"}
	told := w.target(t, func(c *postgres.Config) { c.Pooler = true })
	if _, err := told.InUse(t.Context(), ref); !errors.Is(err, target.ErrUnsupported) || told.Capabilities().InUse != target.InUseUnknown {
		t.Errorf("behind a pooler: %v, %+v", err, told.Capabilities())
	}
	w.relay.Filter(func(chunk []byte) ([]byte, bool) { // a pooler gives out process ids of its own
		out := append([]byte(nil), chunk...)
		if i := strings.Index(string(out), "K\x00\x00\x00\x0c"); i >= 0 {
			out[i+8]++
		}
		return out, true
	})
	if u, err := w.target(t, nil).InUse(t.Context(), ref); !errors.Is(err, target.ErrUnsupported) {
		t.Errorf("behind a pooler that was not configured: %+v, %v", u, err)
	}
}

func foreignRole(t *testing.T, w *world) {
	tg := w.target(t, nil)
	w.rotate(t, tg, "", "v1")
	w.versions.Put("v2", secret.NewValue([]byte(`{"username":"postgres","password":"Taken.over.0123456789"}`)))
	if _, err := tg.Apply(t.Context(), w.versions.Change(spec, "v1", "v2")); !errors.Is(err, target.ErrRejected) {
		t.Errorf("a value for the role postgres: %v", err)
	}
}

func twoOwners(t *testing.T, w *world) {
	tg := w.target(t, nil)
	w.rotate(t, tg, "", "v1")
	other := spec
	other.ID = "OTHER_ID"
	if _, err := tg.Apply(t.Context(), w.versions.Change(other, "", "v1")); err == nil || !strings.Contains(err.Error(), string(spec.ID)) {
		t.Errorf("another secret has set the password: %v", err)
	}
}

func unprepared(t *testing.T, w *world) {
	tg := w.target(t, nil)
	w.rotate(t, tg, "", "v1")
	v, err := w.versions.Read(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"A\u030angstrom.decomposed", "ligature \ufb01", "no-break\u00a0space", "zero\u200bwidth", "next line\u0085"} {
		w.versions.Put("bad", withPassword(t, v, password))
		if _, err := tg.Apply(t.Context(), w.versions.Change(spec, "v1", "bad")); !errors.Is(err, target.ErrRejected) {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

// selfRotation: the admin's own password is rotated by itself, and the answer is lost.
func selfRotation(t *testing.T, w *world) {
	name := w.cfg.User
	w.server.Exec(t, "postgres", "CREATE ROLE "+quote(name)+" LOGIN CREATEROLE PASSWORD 'Before.0123456789'", "GRANT pg_read_all_stats, pg_signal_backend TO "+quote(name))
	w.versions.Put("v1", secret.NewValue(fmt.Appendf(nil, `{"username":%q,"password":"Before.0123456789"}`, name)))
	w.versions.Promote("v1")
	tg := w.target(t, func(c *postgres.Config) { c.Strategy, c.Admin = postgres.Single, w.versions.Current })
	v, err := tg.Propose(t.Context(), w.versions.Change(spec, "v1", ""))
	if err != nil {
		t.Fatal(err)
	}
	w.versions.Put("v2", v)
	c := w.versions.Change(spec, "v1", "v2")
	for range 2 { // the second time the current password does not work any more
		if _, err := tg.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := tg.Verify(t.Context(), c); err != nil {
		t.Error(err)
	}
	w.versions.Promote("v2")
	if err := tg.Revoke(t.Context(), target.Ref{Secret: spec.ID, Version: "v1"}, target.Drain{}); err != nil {
		t.Errorf("revoke: %v", err)
	}
	if u, err := tg.InUse(t.Context(), target.Ref{Secret: spec.ID, Version: "v1"}); err != nil || len(u.Sessions) > 0 {
		t.Errorf("InUse() = %+v, %v", u, err)
	}
}
