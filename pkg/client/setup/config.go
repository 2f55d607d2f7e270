package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Config is what an operator sets. Each setting but the secrets can stand in a
// file or in the environment, which wins: the variable is in the env tag.
type Config struct {
	// Service is the name that secrets list under services:.
	Service string `yaml:"service" env:"ROTATOR_SERVICE"`
	// Instance names the process. Without it a name is made up.
	Instance string `yaml:"instance" env:"ROTATOR_INSTANCE"`
	// Store is the provider of the secrets: env, aws, vault, natskv. Without it
	// env.
	Store string `yaml:"store" env:"ROTATOR_STORE"`
	// Secrets says where in the store each secret is. For one that is not named
	// here the variable that its id names does, TRADEPULSE_AUDIT_SECRET_ID; else
	// its path is its id.
	Secrets map[secret.ID]string `yaml:"secrets"`

	AWS    AWS    `yaml:"aws"`
	Vault  Vault  `yaml:"vault"`
	NATSKV NATSKV `yaml:"natskv"`
	NATS   NATS   `yaml:"nats"`
	// TrustedKeys are the files with the public keys of every rotator and
	// notifier on the bus. In the variable they are separated like in PATH.
	TrustedKeys []string `yaml:"trusted_keys" env:"ROTATOR_TRUSTED_KEYS"`

	// CheckedAtUse are the IDs of the secrets that the service checks at each use,
	// besides those of [Options]. In the variable they are separated like in PATH.
	CheckedAtUse []string `yaml:"checked_at_use" env:"ROTATOR_CHECKED_AT_USE"`
	// Join is "required" if a start waits for the bus without limit.
	Join string `yaml:"join" env:"ROTATOR_JOIN"`

	// RefreshMargin, PollInterval, Fence, Lease and Timeout as in
	// [github.com/tradepulse/rotator/pkg/client.Config] and
	// [github.com/tradepulse/rotator/pkg/secret.Spec]; 0 is the default.
	RefreshMargin time.Duration `yaml:"refresh_margin" env:"ROTATOR_REFRESH_MARGIN"`
	PollInterval  time.Duration `yaml:"poll_interval" env:"ROTATOR_POLL_INTERVAL"`
	Fence         time.Duration `yaml:"fence" env:"ROTATOR_FENCE"`
	Lease         time.Duration `yaml:"lease" env:"ROTATOR_LEASE"`
	// Timeout bounds a call of the store.
	Timeout time.Duration `yaml:"timeout" env:"ROTATOR_TIMEOUT"`

	// MaxStale is the name of Fence in earlier versions. It is refused, like the
	// variable of that time.
	MaxStale string `yaml:"max_stale"`
}

// AWS is where in AWS Secrets Manager the secrets are. What is not set comes from
// where every AWS program finds it.
type AWS struct {
	Region     string `yaml:"region" env:"ROTATOR_AWS_REGION"`
	Profile    string `yaml:"profile" env:"ROTATOR_AWS_PROFILE"`
	AssumeRole string `yaml:"assume_role" env:"ROTATOR_AWS_ASSUME_ROLE"`
	ExternalID string `yaml:"external_id" env:"ROTATOR_AWS_EXTERNAL_ID"`
	Endpoint   string `yaml:"endpoint" env:"ROTATOR_AWS_ENDPOINT"`
}

// Vault is where in Vault or OpenBao the secrets are.
type Vault struct {
	// Address, Namespace and CA: without them VAULT_ADDR, VAULT_NAMESPACE and
	// VAULT_CACERT.
	Address   string `yaml:"address" env:"ROTATOR_VAULT_ADDRESS"`
	Namespace string `yaml:"namespace" env:"ROTATOR_VAULT_NAMESPACE"`
	CA        string `yaml:"ca" env:"ROTATOR_VAULT_CA"`
	// Mount, Prefix and StatePrefix as rotator has them.
	Mount       string    `yaml:"mount" env:"ROTATOR_VAULT_MOUNT"`
	Prefix      string    `yaml:"prefix" env:"ROTATOR_VAULT_PREFIX"`
	StatePrefix string    `yaml:"state_prefix" env:"ROTATOR_VAULT_STATE_PREFIX"`
	Auth        VaultAuth `yaml:"auth"`
}

// VaultAuth says how to log in.
type VaultAuth struct {
	// Method is token, approle, kubernetes or jwt. Without it approle when
	// VAULT_ROLE_ID and VAULT_SECRET_ID are set, else the token in VAULT_TOKEN.
	Method string `yaml:"method" env:"ROTATOR_VAULT_AUTH_METHOD"`
	// Mount of the method. Without it the method's own name.
	Mount string `yaml:"mount" env:"ROTATOR_VAULT_AUTH_MOUNT"`
	// Role of kubernetes and jwt.
	Role string `yaml:"role" env:"ROTATOR_VAULT_AUTH_ROLE"`
	// TokenFile has the token of kubernetes or jwt. Without it, for kubernetes,
	// that of the pod's service account.
	TokenFile string `yaml:"token_file" env:"ROTATOR_VAULT_AUTH_TOKEN_FILE"`
}

// NATSKV is the store on the bus itself. Whoever has the master key can read
// every secret in the bucket: it is for one machine, and for services that are
// trusted like rotator is.
type NATSKV struct {
	Bucket        string `yaml:"bucket" env:"ROTATOR_NATSKV_BUCKET"`
	MasterKeyFile string `yaml:"master_key_file" env:"ROTATOR_NATSKV_MASTER_KEY_FILE"`
}

// NATS is the bus. Without a URL there is none: rotations are noticed by
// polling.
type NATS struct {
	URL    string `yaml:"url" env:"ROTATOR_NATS_URL"`
	Prefix string `yaml:"prefix" env:"ROTATOR_NATS_PREFIX"`
	// APIPrefix is where the JetStream API is in an account of the service's own,
	// such as ROTATOR.API; without it $JS.API.
	APIPrefix   string      `yaml:"api_prefix" env:"ROTATOR_NATS_API_PREFIX"`
	Credentials Credentials `yaml:"credentials"`
	TLS         TLS         `yaml:"tls"`
}

// Credentials name one way to log in to NATS.
type Credentials struct {
	CredsFile    string `yaml:"creds_file" env:"ROTATOR_NATS_CREDENTIALS_CREDS_FILE"`
	NKeyFile     string `yaml:"nkey_file" env:"ROTATOR_NATS_CREDENTIALS_NKEY_FILE"`
	User         string `yaml:"user" env:"ROTATOR_NATS_CREDENTIALS_USER"`
	PasswordFile string `yaml:"password_file" env:"ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE"`
}

// TLS names PEM files; without CA the authorities of the system are believed.
type TLS struct {
	CA   string `yaml:"ca" env:"ROTATOR_NATS_TLS_CA"`
	Cert string `yaml:"cert" env:"ROTATOR_NATS_TLS_CERT"`
	Key  string `yaml:"key" env:"ROTATOR_NATS_TLS_KEY"`
}

// maxConfig bounds a file, in bytes.
const maxConfig = 1 << 20

// Load reads a configuration from a file, "" for none, and from the environment.
// A key that is not known is an error. Everything that is wrong is in one error.
func Load(file string, lookup func(string) (string, bool)) (*Config, error) {
	c := new(Config)
	if file != "" {
		if err := c.read(file); err != nil {
			return nil, err
		}
	}
	errs := override(reflect.ValueOf(c).Elem(), lookup)
	if text, ok := lookup("ROTATOR_MAX_STALE"); ok {
		c.MaxStale = cmp.Or(c.MaxStale, text)
	}
	if c.Store == "" {
		c.Store = "env"
	}
	errs = append(errs, c.validate()...)
	if len(errs) > 0 {
		return nil, fmt.Errorf("setup: %w", errors.Join(errs...))
	}
	return c, nil
}

func (c *Config) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	if len(data) > maxConfig {
		return fmt.Errorf("setup: %s is larger than %d bytes", file, maxConfig)
	}
	if err := yaml.UnmarshalWithOptions(data, c, yaml.Strict()); err != nil {
		return fmt.Errorf("setup: %s: %w", file, plain(err))
	}
	return nil
}

// plain returns an error of the parser without the excerpt of the file that it
// offers: somebody may have put a secret there.
func plain(err error) error {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return errors.New("it is not as it should be")
	}
	if tk := e.GetToken(); tk != nil && tk.Position != nil {
		return fmt.Errorf("line %d: %s", tk.Position.Line, e.GetMessage())
	}
	return errors.New(e.GetMessage())
}

// Variables returns the environment variables that a service's configuration can
// stand in, those of the stores' own clients aside.
func Variables() []string {
	names := []string{FileVariable}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for f := range t.Fields() {
			if name := f.Tag.Get("env"); name != "" {
				names = append(names, name)
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	return names
}

// override sets what the environment sets.
func override(v reflect.Value, lookup func(string) (string, bool)) (errs []error) {
	for f, field := range v.Fields() {
		if field.Kind() == reflect.Struct {
			errs = append(errs, override(field, lookup)...)
			continue
		}
		name := f.Tag.Get("env")
		text, ok := "", false
		if name != "" {
			text, ok = lookup(name)
		}
		if !ok || text == "" {
			continue
		}
		switch p := field.Addr().Interface().(type) {
		case *string:
			*p = text
		case *[]string:
			*p = filepath.SplitList(text)
		case *time.Duration:
			d, err := time.ParseDuration(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s is no duration such as 5m or 1h30m", name))
			}
			*p = d
		}
	}
	return errs
}

// validate returns everything that is wrong.
func (c *Config) validate() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := events.ValidToken(c.Service); c.Service != "" && err != nil {
		bad("service: %w", err)
	}
	if err := events.ValidToken(c.Instance); c.Instance != "" && err != nil {
		bad("instance: %w", err)
	}
	for id, path := range c.Secrets {
		if err := id.Validate(); err != nil {
			bad("secrets: %w", err)
		}
		if _, err := secret.ParseID(path); err != nil {
			bad("secrets: %s: path: %w", id, err)
		}
	}
	for store, empty := range map[string]bool{"aws": c.AWS == (AWS{}), "vault": c.Vault == (Vault{}), "natskv": c.NATSKV == (NATSKV{})} {
		if !empty && c.Store != store {
			bad("%s: it is set, but store is %s", store, strconv.Quote(c.Store))
		}
	}
	if c.MaxStale != "" {
		bad("max_stale (ROTATOR_MAX_STALE) is called fence (ROTATOR_FENCE) now: how long a version is used without being confirmed")
	}
	if c.Fence < 0 {
		bad("fence: it is negative: leave it out for the default")
	}
	if c.Join != "" && c.Join != client.JoinRequired {
		bad("join: %s is unknown, use %s or leave it out", strconv.Quote(c.Join), client.JoinRequired)
	}
	for _, id := range c.CheckedAtUse {
		if _, err := secret.ParseID(id); err != nil {
			bad("checked_at_use: %w", err)
		}
	}
	if c.NATS.URL != "" && len(c.TrustedKeys) == 0 {
		bad("trusted_keys: name the public keys of every rotator and notifier on this bus, or no event is believed")
	}
	if c.NATS.URL == "" && c.NATS != (NATS{}) {
		bad("nats: url is missing")
	}
	if c.Store == "natskv" && (c.NATS.URL == "" || c.NATSKV.MasterKeyFile == "") {
		bad("natskv: nats.url and natskv.master_key_file are required")
	}
	if strings.Count(c.NATS.Credentials.ways(), "x") > 1 {
		bad("nats.credentials: give one of creds_file, nkey_file, and user with password_file")
	}
	return errs
}

// ways has an x for each way to log in.
func (c Credentials) ways() (x string) {
	for _, s := range []string{c.CredsFile, c.NKeyFile, c.User + c.PasswordFile} {
		if s != "" {
			x += "x"
		}
	}
	return x
}
