package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
	"github.com/tradepulse/rotator/pkg/store/env"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// Stores are the stores of a configuration, without what else a program works
// with.
type Stores struct {
	*store.Set
	Catalog *catalog.Catalog
	conn    *nats.Conn // nil when no store is on the bus
}

// NeedsBus reports whether a store of the configuration is on the bus.
func (o Options) NeedsBus() bool {
	return len(o.Config.With(func(f store.Features) bool { return f.OnBus })) > 0
}

// OpenStores opens the stores alone. It connects to the bus only when a store is
// on it, and then waits for it as long as ctx lives.
func OpenStores(ctx context.Context, o Options) (*Stores, error) {
	o.Stores = true
	s := &Stores{Set: new(store.Set)}
	var err error
	if o.NeedsBus() && o.Absent == nil {
		if s.conn, err = o.connect(ctx); err != nil {
			return nil, err
		}
	}
	open := func(ctx context.Context) error {
		set := new(store.Set)
		c, err := o.catalog(ctx, s.conn, set, nil)
		if err != nil {
			return errors.Join(err, set.Close())
		}
		s.Catalog, s.Set = c, set
		return nil
	}
	if s.conn == nil {
		err = open(ctx)
	} else {
		err = o.reach(ctx, s.conn, open)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes the stores and the connection.
func (s *Stores) Close() error {
	err := s.Set.Close()
	if s.conn != nil {
		s.conn.Close()
	}
	return err
}

// Specs returns what is configured for each secret of the configuration, in the
// order of the ids.
func (s *Stores) Specs() []secret.Spec { return configured(s.Catalog) }

// catalog returns the catalog of the configuration, and puts its stores, open, into
// stores if they are wanted. Without a locator discovered secrets are not found by
// their ids.
func (o Options) catalog(ctx context.Context, nc *nats.Conn, stores *store.Set, locate catalog.Locator) (*catalog.Catalog, error) {
	specs, err := o.Config.Specs()
	if err != nil {
		return nil, err
	}
	if !o.Stores {
		return catalog.New(catalog.Config{Specs: specs})
	}
	discoveries, err := o.Config.Discoveries()
	if err != nil {
		return nil, err
	}
	c, err := catalog.New(catalog.Config{Stores: stores, Locate: locate})
	if err != nil {
		return nil, err
	}
	limits := awssm.NewLimits()
	for name, s := range o.Config.Stores {
		d, err := o.driver(ctx, nc, s.Options, inStore(name, specs), c.Scope(name), limits)
		if err != nil {
			return nil, fmt.Errorf("store %s: %w", name, err)
		}
		st, err := store.New(name, d, &store.Options{Logger: o.Logger})
		if err != nil {
			return nil, err
		}
		if err := stores.Add(st); err != nil {
			return nil, err
		}
	}
	// Which entries a store takes only the open store knows.
	errs := []error{c.Discover(discoveries...)}
	for _, spec := range specs {
		errs = append(errs, c.Add(catalog.Entry{Spec: spec, Origin: catalog.Configured}))
	}
	return c, errors.Join(errs...)
}

// inStore returns the paths of the secrets that are configured in a store.
func inStore(name string, specs []secret.Spec) []string {
	var paths []string
	for _, spec := range specs {
		if spec.Store == name {
			paths = append(paths, spec.StorePath())
		}
	}
	return paths
}

// locator returns where the log says that a discovered secret is.
func locator(bus *events.Bus) catalog.Locator {
	return func(ctx context.Context, id secret.ID) (name, path string, err error) {
		last, err := bus.Last(ctx, events.TypeDiscovered, id)
		if err != nil && !errors.Is(err, events.ErrUntrusted) {
			return "", "", err
		}
		spec, ok := last.Event.Data.Spec()
		if !ok {
			return "", "", fmt.Errorf("%w, nor has it been discovered: %s", catalog.ErrUnknownSecret, id)
		}
		return spec.Store, spec.Path, nil
	}
}

// driver is the one place that knows the types of store.
func (o Options) driver(ctx context.Context, nc *nats.Conn, opts config.StoreOptions, paths []string, scope store.Scope, limits *awssm.Limits) (store.Driver, error) {
	switch s := opts.(type) {
	case *config.NATSKV:
		if o.Absent != nil {
			return absent{s.Features(), o.Absent}, nil //nolint:nilerr // it is the answer of a store
		}
		return o.bucket(ctx, nc, s)
	case *config.AWS:
		return openAWS(ctx, s, awsTags(s, paths), scope, limits)
	case *config.Vault:
		return openVault(s, scope, o.lookup())
	case *config.Env:
		return env.Open(env.Config{Paths: paths}), nil
	default:
		return nil, fmt.Errorf("type %s is unknown to this program", opts.Type())
	}
}

// awsTags returns the tags by which AWS is asked for a list. Where no secret is
// configured, those of the discovered ones make it short.
func awsTags(s *config.AWS, paths []string) map[string]string {
	if len(s.Tags) == 0 && len(paths) == 0 && s.Discover != nil {
		return s.Discover.Match
	}
	return s.Tags
}

// AWS opens the driver of a store in AWS Secrets Manager without a scope, for a
// caller that does not list. It makes no call.
func AWS(ctx context.Context, s *config.AWS, limits *awssm.Limits) (*awssm.Driver, error) {
	return openAWS(ctx, s, s.Tags, nil, limits)
}

func openAWS(ctx context.Context, s *config.AWS, tags map[string]string, scope store.Scope, limits *awssm.Limits) (*awssm.Driver, error) {
	c := awssm.Access(s.AWS).Config()
	c.Tags, c.Scope, c.WritesPerSecond, c.Limits = tags, scope, float64(s.WritesPerSecond), limits
	return awssm.Open(ctx, c)
}

func openVault(s *config.Vault, scope store.Scope, lookup func(string) (string, bool)) (*vault.Driver, error) {
	access, err := s.Access(lookup)
	if err != nil {
		return nil, err
	}
	c, err := vault.Access(access).Config(lookup)
	if err != nil {
		return nil, err
	}
	c.Scope = scope
	return vault.Open(c)
}
