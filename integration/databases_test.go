package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// rotatedDatabase is a node that rotates the login of a database, which existed before.
type rotatedDatabase struct {
	database // of its server nothing is used but the node

	login func(l target.Login) (end func(), client string, err error)
	log   func() string
}

// newRotated starts a node with a target of a type at an address.
func newRotated(t *testing.T, typ, options, address, strategy string) *rotatedDatabase {
	t.Helper()
	r := &rotatedDatabase{}
	cfg, health := singleNode(t, fmt.Sprintf(`  - {id: DB_ADMIN, disabled: true}
  - {id: %s, ttl: 1h, grace: none, fence: 1s, consumers: [{name: erp}], target: {name: db, user: app, strategy: %s}}
targets:
  db: {type: %s, endpoints: [%q], admin: DB_ADMIN, %s}
`, databaseID, strategy, typ, address, options))
	r.t, r.cfg, r.dir = t, cfg, filepath.Join(filepath.Dir(cfg), "data")
	r.node = start(t, "run", "--config", cfg)
	ready(t, health)
	r.run(0, `{"username":"rotator","password":"Admin.Password-01234"}`, "import", "DB_ADMIN")
	r.run(0, `{"username":"app","password":"Existing.Password-0123"}`, "import", string(databaseID))
	return r
}

// works returns an error unless a value logs in.
func (r *rotatedDatabase) works(value string) error {
	end, _, err := r.hold(value)
	if err == nil {
		end()
	}
	return err
}

// hold opens a session with a value, as a person does who forgets it.
func (r *rotatedDatabase) hold(value string) (func(), string, error) {
	l, err := target.ParseLogin(secret.NewValue([]byte(value)))
	if err != nil {
		r.t.Fatal(err)
	}
	return r.login(l)
}

// rotate takes the secret to the next version, and has the one before retired. With
// sessions, one that is open holds that back.
func (r *rotatedDatabase) rotate(sessions bool) {
	r.t.Helper()
	if out := r.run(0, "", "target", "check", "db"); !strings.Contains(out, "DB: ready") {
		r.t.Errorf("target check: %s", out)
	}
	old := r.run(0, "", "get", string(databaseID))
	r.run(0, "", "rotate", string(databaseID), "--timeout", "2m", "--again")
	now := r.run(0, "", "get", string(databaseID))
	var version string
	r.state("the consumer is waited for", func(s consumerView) bool {
		version = s.Version
		return s.Rollout == "waiting"
	})
	if err := errors.Join(r.works(now), r.works(old)); err != nil {
		r.t.Errorf("before the old version is retired: %v", err)
	}
	if sessions {
		end, client, err := r.hold(old)
		if err != nil {
			r.t.Fatal(err)
		}
		r.confirm(version)
		waittest.Until(r.t, "the worker names the session that holds the retirement back", func() error {
			if !strings.Contains(r.node.out.String(), "are open at the target (1): "+client) {
				return errors.New("it does not")
			}
			return r.works(old)
		})
		r.state("status names the session", func(s consumerView) bool { return s.Safe.Answer == "no" && strings.Contains(s.Safe.Because, client) })
		end()
	} else {
		r.confirm(version)
	}
	r.state("the version before is retired", func(s consumerView) bool { return s.Rollout == "retired" })
	if err := r.works(now); err != nil {
		r.t.Error(err)
	}
	if err := r.works(old); err == nil {
		r.t.Error("the retired value still logs in")
	}
	if l, _ := target.ParseLogin(secret.NewValue([]byte(now))); strings.Contains(r.log(), l.Password) {
		r.t.Error("a log of the server holds a password")
	}
}

func (r *rotatedDatabase) confirm(version string) {
	r.t.Helper()
	r.run(0, "", "confirm", string(databaseID), "--consumer", "erp", "--version", version)
}

// TestAMariaDBPasswordIsRotated: to the second account, and a session of the first one
// holds the retirement back.
func TestAMariaDBPasswordIsRotated(t *testing.T) {
	t.Parallel()
	s := serverstest.StartMariaDB(t)
	s.Exec(t, "CREATE USER app@'%' IDENTIFIED BY 'Existing.Password-0123'", "CREATE USER rotator@'%' IDENTIFIED BY 'Admin.Password-01234'",
		"GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO rotator@'%'", "GRANT SELECT ON mysql.* TO rotator@'%'")
	r := newRotated(t, "mysql", fmt.Sprintf("tls: {ca: %q}", s.CA), s.Address, "alternating, soak: 1s")
	r.log, r.login = s.Log, func(l target.Login) (func(), string, error) {
		conn, err := serverstest.MariaDBLogin(t.Context(), s.Address, l.Username, l.Password)
		if err != nil {
			return nil, "", err
		}
		return func() { _ = conn.Close() }, conn.Client, nil
	}
	r.rotate(true)
}

// TestAValkeyPasswordIsRotated: the user has both passwords until the old one is
// retired. The node cannot tell which of them a session has used, and the receipt says
// so.
func TestAValkeyPasswordIsRotated(t *testing.T) {
	t.Parallel()
	s := serverstest.StartValkey(t, true)
	s.Do(t, "ACL", "SETUSER", "app", "on", ">Existing.Password-0123", "~*", "+@all")
	s.Do(t, "ACL", "SETUSER", "rotator", "on", ">Admin.Password-01234", "+acl|save", "+acl|getuser", "+acl|setuser")
	r := newRotated(t, "valkey", "plaintext: true", s.Address, "single")
	r.log, r.login = s.Log, func(l target.Login) (func(), string, error) {
		conn, err := serverstest.ValkeyLogin(s.Address, l.Username, l.Password)
		if err != nil {
			return nil, "", err
		}
		return conn.Close, conn.Client(), nil
	}
	r.rotate(false)
}

// TestADrainEndsSessions: a session that a person opened with the old value and forgot is
// ended at the deadline of the drain, and the old value is refused afterwards.
func TestADrainEndsSessions(t *testing.T) {
	t.Parallel()
	s := serverstest.StartValkey(t, true)
	s.Do(t, "ACL", "SETUSER", "app", "on", ">Existing.Password-0123", "~*", "+@all")
	s.Do(t, "ACL", "SETUSER", "rotator", "on", ">Admin.Password-01234", "+acl|save", "+acl|getuser", "+acl|setuser", "+client|list", "+client|kill")
	r := newRotated(t, "valkey", "plaintext: true", s.Address, "alternating, drain: end-all, drain_deadline: 1s")
	old := r.run(0, "", "get", string(databaseID))
	l, err := target.ParseLogin(secret.NewValue([]byte(old)))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := serverstest.ValkeyLogin(s.Address, l.Username, l.Password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	r.run(0, "", "rotate", string(databaseID), "--timeout", "2m", "--again")
	var version string
	r.state("the consumer is waited for", func(s consumerView) bool {
		version = s.Version
		return s.Rollout == "waiting"
	})
	if _, err := conn.Do("PING"); err != nil {
		t.Errorf("the session has ended before the drain: %v", err)
	}
	r.confirm(version)
	r.state("the version before is retired", func(s consumerView) bool { return s.Rollout == "retired" })
	if _, err := conn.Do("PING"); err == nil {
		t.Error("the session is open still")
	}
	if conn, err := serverstest.ValkeyLogin(s.Address, l.Username, l.Password); err == nil {
		conn.Close()
		t.Error("the retired value still logs in")
	}
	if !strings.Contains(r.node.out.String(), "secret.sessions_ended") {
		t.Error("the log does not say that sessions were ended")
	}
}
