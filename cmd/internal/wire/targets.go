package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/hook"
	"github.com/tradepulse/rotator/pkg/target/postgres"
)

// Targets are the targets of a configuration. They keep no connection and no value:
// the login of an admin is read from its store at each use.
type Targets struct {
	cfg     *config.Config
	catalog *catalog.Catalog
	stores  *store.Set
	secrets map[secret.ID]config.SecretTarget
	lookup  func(string) (string, bool)

	accounts accounts
}

// NewTargets returns the targets of a configuration, whose secrets are in a catalog
// and whose stores are open.
func NewTargets(c *config.Config, known *catalog.Catalog, stores *store.Set) *Targets {
	t := &Targets{cfg: c, catalog: known, stores: stores, secrets: map[secret.ID]config.SecretTarget{}, lookup: os.LookupEnv}
	for _, s := range c.Secrets {
		if s.Target.Name != "" {
			t.secrets[secret.ID(s.ID)] = s.Target
		}
	}
	return t
}

// For returns the target of a secret, nil for none.
func (t *Targets) For(ctx context.Context, s secret.Spec) (target.Target, error) {
	of, ok := t.secrets[s.ID]
	if !ok {
		return nil, nil
	}
	switch o := t.cfg.Targets[of.Name].Options.(type) {
	case *config.Postgres:
		return t.postgres(o, of, s)
	case *config.MySQL:
		return t.mysql(o, of, s)
	case *config.Valkey:
		return t.valkey(o, of, s)
	case *config.AWSIAM:
		return t.awsiam(ctx, o, of, s)
	case *config.Hook:
		return t.hook(o, of, s)
	default:
		return nil, fmt.Errorf("target %s: its type is unknown to this program", of.Name)
	}
}

func (t *Targets) postgres(o *config.Postgres, of config.SecretTarget, s secret.Spec) (target.Target, error) {
	secure, err := transport(o.TLS, o.Plaintext)
	if err != nil {
		return nil, fmt.Errorf("target %s: tls: %w", of.Name, err)
	}
	return postgres.New(postgres.Config{
		Endpoints: o.Endpoints, Database: o.Database, TLS: secure, Pooler: o.Pooler, Lag: time.Duration(o.Lag),
		User: of.User, Owner: of.Owner, Strategy: postgres.Strategy(of.Strategy),
		Admin: t.admin(o.Admin), Read: t.reader(s),
	})
}

func (t *Targets) hook(o *config.Hook, of config.SecretTarget, s secret.Spec) (target.Target, error) {
	secure, err := transport(o.TLS, false)
	if err != nil {
		return nil, fmt.Errorf("target %s: tls: %w", of.Name, err)
	}
	c := hook.Config{
		URL: o.URL, HTTP: hook.Transport{TLS: secure}, Command: o.Command, Secret: s.ID, User: of.User, Capabilities: o.Capabilities(), Proposes: o.Proposes,
		Read: t.reader(s),
	}
	if !o.Token.IsZero() {
		c.HTTP.Token = func(context.Context) (secret.Value, error) { return o.Token.Read(t.lookup) }
	}
	return hook.New(c)
}

// transport returns how the servers of a target are reached. Without TLS in the
// configuration their certificates have to be of an authority of the system.
func transport(t settings.TLS, plain bool) (*tls.Config, error) {
	if plain {
		return nil, nil
	}
	c, err := t.Config()
	if c == nil && err == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS13}
	}
	return c, err
}

// current returns the current value of another secret, such as that of an admin.
func (t *Targets) current(ctx context.Context, id secret.ID) (secret.Value, error) {
	e, err := t.catalog.Find(ctx, id)
	if err != nil {
		return secret.Value{}, err
	}
	return t.read(ctx, e.Spec, "")
}

// read returns the value of a version, "" for the current one. The error wraps
// [target.ErrGone] if the store says that it no longer has the value.
func (t *Targets) read(ctx context.Context, s secret.Spec, v secret.VersionID) (secret.Value, error) {
	st, ok := t.stores.Get(s.Store)
	if !ok {
		return secret.Value{}, fmt.Errorf("%s: there is no store %q", s.ID, s.Store)
	}
	_, value, err := st.Get(ctx, s.StorePath(), store.Selector{Version: v, Primary: true})
	if v != "" && (errors.Is(err, store.ErrNoValue) || errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDeleted)) {
		err = fmt.Errorf("%w: %w", target.ErrGone, err)
	}
	return value, err
}
