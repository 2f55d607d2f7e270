package integration

import (
	"errors"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// TestASuspendedLoginComesBack: a client that reports nothing and keeps no session tries
// the old value while it is suspended. It is refused, named, and logs in again without a
// person.
func TestASuspendedLoginComesBack(t *testing.T) {
	t.Parallel()
	s := serverstest.StartValkey(t, true)
	s.Do(t, "ACL", "SETUSER", "app", "on", ">Existing.Password-0123", "~*", "+@all")
	s.Do(t, "ACL", "SETUSER", "rotator", "on", ">Admin.Password-01234", "+acl|save", "+acl|getuser", "+acl|setuser", "+acl|log", "+client|list", "+client|kill")
	r := newRotated(t, "valkey", "plaintext: true", s.Address, "alternating, soak: 30s")
	r.log, r.login = s.Log, func(l target.Login) (func(), string, error) {
		conn, err := serverstest.ValkeyLogin(s.Address, l.Username, l.Password)
		if err != nil {
			return nil, "", err
		}
		return conn.Close, conn.Client(), nil
	}
	old := r.run(0, "", "get", string(databaseID))
	r.run(0, "", "rotate", string(databaseID), "--timeout", "2m", "--again")
	now := r.run(0, "", "get", string(databaseID))
	var version string
	r.state("the consumer is waited for", func(s consumerView) bool {
		version = s.Version
		return s.Rollout == "waiting"
	})
	r.confirm(version)
	waittest.Until(t, "status says until when the old value is suspended", func() error {
		if out, _, _ := piped(t, "", "status", "--json", string(databaseID), "--config", r.cfg); !strings.Contains(out, `"suspended_until"`) {
			return errors.New(out)
		}
		return nil
	})
	if err := r.works(old); err == nil {
		t.Fatal("the suspended value logs in")
	}
	if err := r.works(now); err != nil {
		t.Error(err)
	}
	waittest.Until(t, "the old value works again", func() error { return r.works(old) })
	waittest.Until(t, "status names the client", func() error {
		out, _, _ := piped(t, "", "status", string(databaseID), "--config", r.cfg)
		if !strings.Contains(out, "used while it was suspended") || !strings.Contains(out, "127.0.0.1:") {
			return errors.New(out)
		}
		return nil
	})
	if !strings.Contains(r.node.out.String(), "secret.resumed") {
		t.Error("the log does not say that the value came back")
	}
	l, err := target.ParseLogin(secret.NewValue([]byte(old)))
	if err != nil || strings.Contains(s.Log(), l.Password) {
		t.Errorf("%v, or a log of the server holds a password", err)
	}
}
