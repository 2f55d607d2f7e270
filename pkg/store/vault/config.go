package vault

import (
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/store"
)

// Defaults of a [Config].
const (
	DefaultMount       = "secret"
	DefaultStatePrefix = "rotator-state"
	// DefaultConcurrency is how many secrets List looks at together.
	DefaultConcurrency = 8
)

// connections is how many connections are kept for calls to come.
const connections = 64

// Config says where the secrets are. The zero value is the mount "secret" of
// the server that BAO_ADDR or VAULT_ADDR names, with the token in BAO_TOKEN or
// VAULT_TOKEN.
type Config struct {
	// Address of the server. "" means BAO_ADDR, else VAULT_ADDR, else
	// https://127.0.0.1:8200.
	Address string
	// Namespace of Vault Enterprise or OpenBao. "" means BAO_NAMESPACE, else
	// VAULT_NAMESPACE, else none.
	Namespace string
	// CACert is a PEM file of the authorities that are believed. "" means
	// BAO_CACERT, else VAULT_CACERT, else those of the system.
	CACert string
	// Lookup finds the variables of the environment. Nil means os.LookupEnv.
	Lookup Lookup `json:"-"`
	// Mount is where the KV version 2 engine is. "" means DefaultMount.
	Mount string
	// Prefix stands before every path, and List shows what is under it.
	Prefix string
	// StatePrefix is where in the mount pending versions wait. "" means
	// DefaultStatePrefix.
	StatePrefix string
	// Scope limits List further; nil shows everything under Prefix.
	Scope store.Scope
	// Auth logs in. Nil uses the token of the environment.
	Auth Auth
	// Concurrency is how many secrets List looks at together. 0 means
	// DefaultConcurrency.
	Concurrency int
	// Retries is how often a call that the server could not serve is repeated.
	// 0 means 2, negative none.
	Retries int
	// Transport replaces the one of the client, for tests.
	Transport http.RoundTripper
}

func (c Config) client(clock *store.Clock) (*api.Client, error) {
	ac := api.DefaultConfig()
	if ac.Error != nil {
		return nil, fmt.Errorf("vault: read the environment: %w", ac.Error)
	}
	env, err := c.Lookup.environment()
	if err != nil {
		return nil, err
	}
	if c.Address != "" {
		env.address, env.agent = c.Address, ""
	}
	if c.Namespace != "" {
		env.namespace = c.Namespace
	}
	if c.CACert != "" {
		env.tls.CACert, env.tls.CACertBytes, env.tls.CAPath = c.CACert, nil, ""
	}
	if err := env.apply(ac); err != nil {
		return nil, err
	}
	switch {
	case c.Retries > 0:
		ac.MaxRetries = c.Retries
	case c.Retries < 0:
		ac.MaxRetries = 0
	}
	if t, ok := ac.HttpClient.Transport.(*http.Transport); ok {
		t.MaxIdleConnsPerHost = connections // a pool for one server, and not for one core
	}
	if c.Transport != nil {
		ac.HttpClient.Transport = c.Transport
	}
	if !strings.Contains(ac.Address, "://") {
		return nil, fmt.Errorf("vault: the address %q has no scheme: write https://HOST:8200 in BAO_ADDR, VAULT_ADDR or the configuration", ac.Address)
	}
	ac.Timeout = time.Minute // the caller's context is shorter
	cl, err := api.NewClient(ac)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	if t, ok := ac.HttpClient.Transport.(*http.Transport); ok && c.Transport == nil {
		ac.HttpClient.Transport = env.rereading(t)
	}
	ac.HttpClient.Transport = &dated{next: ac.HttpClient.Transport, clock: clock}
	cl.SetToken(env.token)
	cl.ClearNamespace()
	if env.namespace != "" {
		cl.SetNamespace(env.namespace)
	}
	return cl, nil
}

func (c Config) withDefaults() Config {
	if c.Mount == "" {
		c.Mount = DefaultMount
	}
	if c.StatePrefix == "" {
		c.StatePrefix = DefaultStatePrefix
	}
	if c.Concurrency <= 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.Lookup == nil {
		c.Lookup = os.LookupEnv
	}
	if c.Scope == nil {
		c.Scope = store.Everything{}
	}
	c.Mount, c.Prefix, c.StatePrefix = NormalPath(c.Mount), NormalPath(c.Prefix), NormalPath(c.StatePrefix)
	return c
}

// NormalPath returns the form of a path in which List shows the secret. To the
// engine /a/b, a//b and a/./b are a/b, and it has no parent folders.
func NormalPath(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// NormalPath implements [store.PathNormalizer].
func (*Driver) NormalPath(path string) string { return NormalPath(path) }

// full returns the path of a secret within the mount, which cannot leave the
// prefix.
func (c Config) full(path string) string { return strings.Trim(c.Prefix+"/"+NormalPath(path), "/") }

func (c Config) data(path string) string     { return c.Mount + "/data/" + c.full(path) }
func (c Config) metadata(path string) string { return c.Mount + "/metadata/" + c.full(path) }
func (c Config) state(path string) string {
	return c.Mount + "/data/" + c.StatePrefix + "/" + c.full(path)
}
func (c Config) stateMeta(path string) string {
	return c.Mount + "/metadata/" + c.StatePrefix + "/" + c.full(path)
}
