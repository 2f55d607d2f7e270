package config_test

import (
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

const targets = `stores: {main: {type: natskv}}
targets: {pg: {type: postgres, endpoints: ["127.0.0.1:5432"], admin: ADMIN}}
secrets:
  - {id: ADMIN, disabled: true}
  - {id: DB, services: [api], target: {name: pg, user: app}}
`

// TestProblemsOfTargets: each is a change to a configuration that has none.
func TestProblemsOfTargets(t *testing.T) {
	t.Parallel()
	if got := problems(t, targets); got != nil {
		t.Fatalf("the configuration itself: %v", got)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"no such target": {"name: pg", "name: pgg", `secrets[1].target.name: there is no target "pgg"; did you mean "pg"?`},
		"no user":        {", user: app", "", "secrets[1].target: user is missing; add the name of the login role"},
		"no overlap where one is needed": {
			"user: app}", "user: app, strategy: single}, rollout: prepare-then-activate",
			"secrets[1].target.strategy: it has no overlap: the old value fails as soon as the new one is applied",
		},
		"a name that the server would cut": {"user: app", "user: " + strings.Repeat("x", 60), "a name has at most 63 bytes"},
		"a strategy of another word":       {"user: app", "user: app, strategy: dual", `"dual" is not possible here`},
		"an owner that is a login role":    {"user: app", "user: app, owner: app_clone", "the owner role is a login role"},
		"an admin that is not listed":      {"admin: ADMIN", "admin: ADMINS", `targets.pg.admin: there is no secret "ADMINS"`},
		"an admin that would be locked out": {
			"ADMIN, disabled: true", "ADMIN", "it is the admin of a target and has no target itself, so a rotation would lock the admin out",
		},
		"an owner where there is none":   {"type: postgres, endpoints: [\"127.0.0.1:5432\"], admin: ADMIN}}\nsecrets:\n  - {id: ADMIN, disabled: true}\n  - {id: DB, services: [api], target: {name: pg, user: app}", "type: mysql, endpoints: [\"127.0.0.1:5432\"], admin: ADMIN}}\nsecrets:\n  - {id: ADMIN, disabled: true}\n  - {id: DB, services: [api], target: {name: pg, user: app, owner: o}", "only PostgreSQL has owner roles"},
		"a name with a space for Valkey": {"type: postgres, endpoints: [\"127.0.0.1:5432\"], admin: ADMIN}}\nsecrets:\n  - {id: ADMIN, disabled: true}\n  - {id: DB, services: [api], target: {name: pg, user: app}", "type: valkey, endpoints: [\"127.0.0.1:5432\"], admin: ADMIN}}\nsecrets:\n  - {id: ADMIN, disabled: true}\n  - {id: DB, services: [api], target: {name: pg, user: a p}", "a name has no spaces"},
		"sessions behind a pooler": {
			"admin: ADMIN}}\nsecrets:\n  - {id: ADMIN, disabled: true}\n  - {id: DB, services: [api], target: {name: pg, user: app", "admin: ADMIN, pooler: true}}\nsecrets:\n  - {id: ADMIN, disabled: true}\n  - {id: DB, services: [api], target: {name: pg, user: app, drain: end-idle",
			"secrets[1].target.drain: the target does not know whose a session is, so it ends none",
		},
		"TLS and none":                {"admin: ADMIN", "admin: ADMIN, plaintext: true, tls: {ca: ca.pem}", "targets.pg.plaintext: it excludes tls"},
		"half a certificate":          {"admin: ADMIN", "admin: ADMIN, tls: {cert: ca.pem}", "cert and key go together"},
		"an address without a port":   {"127.0.0.1:5432", "127.0.0.1", `"127.0.0.1" is not host:port`},
		"a password in the address":   {"127.0.0.1:5432", "postgres://u:p@h/db", "is not host:port"},
		"an unknown type":             {"type: postgres", "type: postgresql", `"postgresql" is not possible here`},
		"a policy of the whole value": {"services: [api]", "services: [api], policy: {whole: true}", "the policy is not about the password of a login"},
		"two secrets of one account":  {"  - {id: DB,", "  - {id: DB2, target: {name: pg, user: app}}\n  - {id: DB,", "secrets[1] has the same account"},
		"a rotation of the store's own": {
			"services: [api]", "services: [api], strategy: external", "strategy: external leaves the target to the store's own rotation",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(targets, c.old, c.new, 1)
			if text == targets {
				t.Fatalf("%q is not in the configuration", c.old)
			}
			got := strings.Join(problems(t, text), "\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("problems %q, want %q", got, c.want)
			}
		})
	}
}

// TestWhatATargetCanTell: where it cannot tell who uses a value, the proof of the secret
// is a doubtful one.
func TestWhatATargetCanTell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typ, options, strategy string
		unknown                bool
	}{
		{"postgres", "", "alternating", false},
		{"postgres", "", "single", false},
		{"postgres", ", pooler: true", "alternating", true},
		{"mysql", "", "alternating", false},
		{"mysql", ", pooler: true", "alternating", true},
		{"mysql", "", "single", true},
		{"valkey", "", "alternating", false},
		{"valkey", "", "single", true},
	} {
		text := strings.NewReplacer("type: postgres", "type: "+c.typ, "admin: ADMIN", "admin: ADMIN"+c.options, "user: app", "user: app, strategy: "+c.strategy).Replace(targets)
		cfg, err := config.Parse([]byte(text), "test.yaml", nil)
		if err != nil {
			t.Fatal(err)
		}
		specs, err := cfg.Specs()
		if err != nil {
			t.Fatal(err)
		}
		if specs[0].Proof.TargetUnknown || specs[1].Proof.TargetUnknown != c.unknown {
			t.Errorf("%+v: the use is unknown: %t", c, specs[1].Proof.TargetUnknown)
		}
	}
}

// TestWarningsOfTargets: what is legal and probably not meant.
func TestWarningsOfTargets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ old, new, want string }{
		{"user: app", "user: app, strategy: single", "logins of a service fail between the change and its reload"},
		{`["127.0.0.1:5432"]`, `["db.example:5432"], plaintext: true`, "statements cross the network in the clear"},
	} {
		cfg, err := config.Parse([]byte(strings.Replace(targets, c.old, c.new, 1)), "test.yaml", nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(cfg.Warnings()) != 1 || !strings.Contains(cfg.Warnings()[0].String(), c.want) {
			t.Errorf("warnings %v, want %q", cfg.Warnings(), c.want)
		}
	}
}

// TestASecretOfATargetRotatesItsPassword: the policy is about that field of the
// document, whatever else it says.
func TestASecretOfATargetRotatesItsPassword(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"", ", policy: {length: 40}"} {
		cfg, err := config.Parse([]byte(strings.Replace(targets, "services: [api]", "services: [api]"+policy, 1)), "test.yaml", nil)
		if err != nil {
			t.Fatal(err)
		}
		specs, err := cfg.Specs()
		if err != nil {
			t.Fatal(err)
		}
		if specs[0].Policy != nil {
			t.Errorf("the admin, which has no target, has the policy %+v", specs[0].Policy)
		}
		if p := specs[1].ValuePolicy(); p.Field != "/password" || policy != "" && p.Length != 40 {
			t.Errorf("policy %+v", p)
		}
	}
}
