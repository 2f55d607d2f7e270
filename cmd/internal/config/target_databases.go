package config

import (
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/target/mysql"
	"github.com/tradepulse/rotator/pkg/target/valkey"
)

// MySQL is a MariaDB server, version 10.4 or later, or a MySQL server, version 8, whose
// accounts are rotated. It is not proven on a real MySQL server.
type MySQL struct {
	// Servers: the primary, and replicas on which a new value has to work as well.
	Endpoints []string `json:"endpoints" jsonschema:"required,format=address,minItems=1,maxItems=100,uniqueItems=true"`
	// Secret with the login of an account that may change the others: a JSON document
	// with username and password, listed under secrets.
	Admin string `json:"admin" jsonschema:"required,format=secret-id"`
	// Database where values without a dbname log in. Without it none.
	Database string `json:"database,omitzero" jsonschema:"minLength=1,maxLength=64"`
	// Files for TLS. Connections use TLS 1.3 and check the server's certificate,
	// with or without this section.
	TLS settings.TLS `json:"tls,omitzero"`
	// Connects without TLS.
	Plaintext bool `json:"plaintext,omitzero"`
	// Services connect through a pooler such as ProxySQL. Who is logged in is
	// unknown then, and nothing is retired by the target's word.
	Pooler bool `json:"pooler,omitzero"`
	// How long a change may take to reach the replicas.
	Lag Duration `json:"lag,omitzero" default:"10s"`
}

// Type returns mysql.
func (*MySQL) Type() string { return "mysql" }

func (o *MySQL) blind(of SecretTarget) bool {
	return o.Pooler || of.Strategy == string(mysql.Single)
}

func (*MySQL) policy(of *secret.Policy) *secret.Policy { return loginPolicy(of) }

func (o *MySQL) check(k *checker, at []string) {
	k.transport(at, o.TLS, o.Plaintext, o.Endpoints)
	k.admin(append(at, "admin"), o.Admin)
}

func (*MySQL) checkSecret(k *checker, at []string, s Secret) {
	if !k.login(at, s) {
		return
	}
	k.withoutOwner(at, s)
	if err := mysql.CheckNames(s.Target.User, mysql.Strategy(s.Target.Strategy)); err != nil {
		k.report(append(at, "user"), err.Error(), "choose another name")
	}
}

// Valkey is a set of Valkey or Redis servers, version 7 or later, whose users are
// rotated.
type Valkey struct {
	// All nodes, replicas too: each has an access control list of its own, in a file
	// (aclfile).
	Endpoints []string `json:"endpoints" jsonschema:"required,format=address,minItems=1,maxItems=100,uniqueItems=true"`
	// Secret with the login of a user that may change the others: a JSON document
	// with username and password, listed under secrets.
	Admin string `json:"admin" jsonschema:"required,format=secret-id"`
	// Files for TLS. Connections use TLS 1.3 and check the server's certificate,
	// with or without this section.
	TLS settings.TLS `json:"tls,omitzero"`
	// Connects without TLS.
	Plaintext bool `json:"plaintext,omitzero"`
}

// Type returns valkey.
func (*Valkey) Type() string { return "valkey" }

func (*Valkey) blind(of SecretTarget) bool { return of.Strategy == string(valkey.Single) }

func (*Valkey) policy(of *secret.Policy) *secret.Policy { return loginPolicy(of) }

func (o *Valkey) check(k *checker, at []string) {
	k.transport(at, o.TLS, o.Plaintext, o.Endpoints)
	k.admin(append(at, "admin"), o.Admin)
}

func (*Valkey) checkSecret(k *checker, at []string, s Secret) {
	if !k.login(at, s) {
		return
	}
	k.withoutOwner(at, s)
	if err := valkey.CheckNames(s.Target.User, valkey.Strategy(s.Target.Strategy)); err != nil {
		k.report(append(at, "user"), err.Error(), "choose another name")
	}
}

// login checks a secret whose value is a login. It returns false for one without an
// account.
func (k *checker) login(at []string, s Secret) bool {
	if s.Target.User == "" {
		k.report(at, "user is missing", "add the name of the login role")
		return false
	}
	if p, err := k.cfg.policy(s.Policy); err == nil && p != nil && (p.Whole || p.Field != "" && p.Field != loginField) {
		k.report(append(at, "name"), "the policy is not about the password of a login", "remove field and whole from the policy")
	}
	return true
}

// withoutOwner refuses an owner role where the target knows none.
func (k *checker) withoutOwner(at []string, s Secret) {
	if s.Target.Owner != "" {
		k.report(append(at, "owner"), "only PostgreSQL has owner roles", "remove it")
	}
}
