package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/store"
)

// FileVariable names the configuration file when [Options.File] does not.
const FileVariable = settings.ServiceFileVariable

// Options are what the code of a service says; the rest is for its operator.
type Options struct {
	// Service is the name of the service unless the configuration has one.
	Service string
	// IDs are the secrets that the service needs. Those of the configuration are
	// held as well.
	IDs []secret.ID
	// CheckedAtUse are those that the code checks at each use, see
	// [github.com/tradepulse/rotator/pkg/client.Config].
	CheckedAtUse []secret.ID
	// Optional are those that need not be there, see
	// [github.com/tradepulse/rotator/pkg/client.Config].
	Optional []secret.ID
	// Providers are the stores that the operator can choose, besides env.
	Providers []Provider
	// File is the configuration. "" means the one that FileVariable names, if
	// any.
	File string
	// Lookup finds environment variables. Nil means os.LookupEnv.
	Lookup func(name string) (string, bool)
	// ConnectTimeout bounds how long Open waits for the bus and then for the bucket
	// of a store on the bus. 0 means as long as its context lives; the log says what
	// it waits for. Without such a store nothing waits for the bus.
	ConnectTimeout time.Duration

	// Nil means slog.Default and the global providers.
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

// Provider opens one type of store.
type Provider interface {
	// Name is what the setting store calls it.
	Name() string
	// Open returns the driver.
	Open(ctx context.Context, s *Session) (store.Driver, error)
}

// Session is what a [Provider] is given.
type Session struct {
	Config *Config
	// Lookup finds environment variables.
	Lookup func(name string) (string, bool)
	// Conn is the connection of the bus, nil without one.
	Conn *nats.Conn
	// IDs are the secrets that the service holds.
	IDs []secret.ID
}

// Client is a Manager with what was opened for it.
type Client struct {
	*client.Manager

	link *link // nil without a bus
	st   *store.Store
}

// Close closes the Manager, and then the store and the connection.
func (c *Client) Close(ctx context.Context) error {
	err := c.Manager.Close(ctx)
	return errors.Join(err, c.release())
}

func (c *Client) release() error {
	var err error
	if c.st != nil {
		err = c.st.Close()
	}
	if c.link != nil {
		c.link.close()
	}
	return err
}

// Open reads the configuration and returns a Manager that holds every secret.
// The error names everything that is wrong with the configuration, or every
// secret that cannot be had.
func Open(ctx context.Context, o Options) (*Client, error) {
	if o.Lookup == nil {
		o.Lookup = os.LookupEnv
	}
	if o.File == "" {
		o.File, _ = o.Lookup(FileVariable)
	}
	cfg, err := Load(o.File, o.Lookup)
	if err != nil {
		return nil, err
	}
	cfg.Service = cmp.Or(cfg.Service, o.Service)
	p, err := o.provider(cfg)
	if err != nil {
		return nil, err
	}
	c := &Client{}
	if err := c.open(ctx, o, cfg, p); err != nil {
		return nil, errors.Join(err, c.release())
	}
	return c, nil
}

func (o Options) provider(cfg *Config) (Provider, error) {
	all := append([]Provider{envProvider{}}, o.Providers...)
	var names []string
	for _, p := range all {
		if p.Name() == cfg.Store {
			return p, nil
		}
		names = append(names, p.Name())
	}
	return nil, fmt.Errorf("setup: store: %q is none of those that this program has: %s", cfg.Store, strings.Join(names, ", "))
}

func (c *Client) open(ctx context.Context, o Options, cfg *Config, p Provider) error {
	if err := c.connect(ctx, o, cfg); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	var bus client.Bus
	var conn *nats.Conn
	if c.link != nil {
		bus = c.link
		conn, _ = c.link.current()
	}
	ids := o.ids(cfg)
	d, err := o.driver(ctx, p, &Session{Config: cfg, Lookup: o.Lookup, Conn: conn, IDs: ids})
	if err != nil {
		return fmt.Errorf("setup: store %s: %w", cfg.Store, err)
	}
	c.st, err = store.New(cfg.Store, d, &store.Options{Timeout: cfg.Timeout, Logger: o.Logger, MeterProvider: o.MeterProvider, TracerProvider: o.TracerProvider})
	if err != nil {
		return errors.Join(err, d.Close())
	}
	set, err := c.set(o, cfg)
	if err != nil {
		return err
	}
	c.Manager, err = client.New(ctx, client.Config{
		Service: cfg.Service, Instance: cfg.Instance, Fleet: cfg.Fleet, Source: set.Source, IDs: set.IDs, Bus: bus,
		CheckedAtUse: set.CheckedAtUse, Optional: set.Optional, Join: cfg.Join, PollInterval: cfg.PollInterval, Fence: cfg.Fence, Lease: cfg.Lease, Lookup: o.Lookup,
		Logger: o.Logger, MeterProvider: o.MeterProvider, TracerProvider: o.TracerProvider,
		Reconfigure: func(context.Context) (client.Set, error) { return c.reconfigured(o) },
	})
	return err
}

// ids returns the secrets to hold, in order.
func (o Options) ids(cfg *Config) []secret.ID {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(o.IDs, slices.Collect(maps.Keys(cfg.Secrets))))))
}

// set returns what to hold, in the store that is open.
func (c *Client) set(o Options, cfg *Config) (client.Set, error) {
	set := client.Set{IDs: o.ids(cfg), CheckedAtUse: slices.Clone(o.CheckedAtUse), Optional: o.Optional}
	for _, id := range cfg.CheckedAtUse {
		set.CheckedAtUse = append(set.CheckedAtUse, secret.ID(id))
	}
	var specs []secret.Spec
	for _, id := range set.IDs {
		specs = append(specs, secret.Spec{ID: id, Store: cfg.Store, Path: path(cfg, id, o.Lookup), RefreshMargin: cfg.RefreshMargin})
	}
	var err error
	if set.Source, err = client.FromSpecs([]*store.Store{c.st}, specs); err != nil {
		return client.Set{}, fmt.Errorf("setup: %w", err)
	}
	return set, nil
}

// reconfigured reads the configuration again, for [client.Manager.Reload]. It takes the
// secrets and their paths from it; everything else needs a restart.
func (c *Client) reconfigured(o Options) (client.Set, error) {
	cfg, err := Load(o.File, o.Lookup)
	if err != nil {
		return client.Set{}, err
	}
	if cfg.Store != c.st.Name() {
		return client.Set{}, fmt.Errorf("setup: store: it was %s and is %s now: restart the process to change it", c.st.Name(), cfg.Store)
	}
	return c.set(o, cfg)
}

// driver opens a store. It waits for one on the bus.
func (o Options) driver(ctx context.Context, p Provider, s *Session) (d store.Driver, err error) {
	open := func(ctx context.Context) error {
		d, err = p.Open(ctx, s)
		return err
	}
	if s.Conn == nil || s.Config.Store != "natskv" {
		err = open(ctx)
		return d, err
	}
	ctx, cancel := o.wait(ctx)
	defer cancel()
	err = events.Await(ctx, s.Conn, events.AwaitConfig{Logger: o.Logger}, open)
	return d, err
}

// wait returns ctx with the limit of the options.
func (o Options) wait(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.ConnectTimeout > 0 {
		return context.WithTimeout(ctx, o.ConnectTimeout)
	}
	return context.WithCancel(ctx)
}

// path returns where a secret is. The env store follows an identifier by itself.
func path(c *Config, id secret.ID, lookup func(string) (string, bool)) string {
	if path := c.Secrets[id]; path != "" || c.Store == envStore {
		return path
	}
	path, _ := lookup(string(id))
	return path
}

// connect opens the link to the bus, unless the configuration has none.
func (c *Client) connect(ctx context.Context, o Options, cfg *Config) error {
	if cfg.NATS.URL == "" {
		return nil
	}
	ec, err := bus(cfg, o)
	if err != nil {
		return err
	}
	cc, err := connection(cfg, o)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, cc events.ConnectConfig) (*nats.Conn, *events.Bus, error) {
		wait, cancel := o.wait(ctx)
		defer cancel()
		conn, err := events.Connect(wait, cc)
		if err != nil {
			return nil, nil, err
		}
		bus, err := events.New(conn, ec)
		if err != nil {
			conn.Close()
		}
		return conn, bus, err
	}
	conn, bus, err := dial(ctx, cc)
	if err != nil {
		return err
	}
	c.link = newLink(conn, bus, o.Logger, func(ctx context.Context) (*nats.Conn, *events.Bus, error) {
		cc, err := connection(cfg, o) // credentials may have changed since
		if err != nil {
			return nil, nil, err
		}
		cc.Background = true
		return dial(ctx, cc)
	})
	return nil
}

// bus returns what the bus is made of besides its connection.
func bus(c *Config, o Options) (events.Config, error) {
	names, err := events.NewNames(c.NATS.Prefix)
	if err != nil {
		return events.Config{}, fmt.Errorf("nats.prefix: %w", err)
	}
	trusted, err := events.TrustFiles(c.TrustedKeys, o.Logger)
	if err != nil {
		return events.Config{}, err
	}
	return events.Config{
		Names: names, Source: "/service/" + c.Service, Verifier: trusted, APIPrefix: c.NATS.APIPrefix,
		Logger: o.Logger, MeterProvider: o.MeterProvider, TracerProvider: o.TracerProvider,
	}, nil
}

// connection returns how to reach NATS, with the credentials as their files are
// now.
func connection(c *Config, o Options) (events.ConnectConfig, error) {
	cc, err := c.NATS.Connect(o.Lookup)
	cc.Name, cc.Background, cc.Logger = "service "+c.Service, c.Store != "natskv", o.Logger
	return cc, err
}
