package setup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/goccy/go-yaml"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
)

// Config is what an operator sets, see [settings.Service].
type Config = settings.Service

// maxConfig bounds a file, in bytes.
const maxConfig = 1 << 20

// Load reads a configuration from a file, "" for none, and from the environment.
// A key that is not known is an error. Everything that is wrong is in one error.
func Load(file string, lookup func(string) (string, bool)) (*Config, error) {
	c := new(Config)
	if file != "" {
		if err := read(c, file); err != nil {
			return nil, err
		}
	}
	errs := c.Override(lookup)
	if c.Store == "" {
		c.Store = "env"
	}
	errs = append(errs, validate(c)...)
	if len(errs) > 0 {
		return nil, fmt.Errorf("setup: %w", errors.Join(errs...))
	}
	return c, nil
}

func read(c *Config, file string) error {
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
// offers: an operator may have put a secret there.
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

// validate returns everything that is wrong.
func validate(c *Config) (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := events.ValidToken(c.Service); c.Service != "" && err != nil {
		bad("service: %w", err)
	}
	if err := events.ValidToken(c.Instance); c.Instance != "" && err != nil {
		bad("instance: %w", err)
	}
	if err := events.ValidToken(c.Fleet); c.Fleet != "" && err != nil {
		bad("fleet: %w", err)
	}
	for id, path := range c.Secrets {
		if err := id.Validate(); err != nil {
			bad("secrets: %w", err)
		}
		if _, err := secret.ParseID(path); err != nil {
			bad("secrets: %s: path: %w", id, err)
		}
	}
	for store, empty := range map[string]bool{"aws": c.AWS == (settings.AWS{}), "vault": c.Vault == (settings.Vault{}), "natskv": c.NATSKV == (settings.ServiceNATSKV{})} {
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
	if c.NATS.URL == "" && c.NATS != (settings.NATS{}) {
		bad("nats: url is missing")
	}
	if c.Store == "natskv" && (c.NATS.URL == "" || c.NATSKV.MasterKey.IsZero()) {
		bad("natskv: nats.url and natskv.master_key are required")
	}
	if err := c.NATS.Credentials.Validate(); err != nil {
		bad("nats.credentials: %w", err)
	}
	if err := c.NATS.TLS.Validate(); err != nil {
		bad("nats.tls: %w", err)
	}
	return errs
}
