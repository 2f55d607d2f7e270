// Package wire turns a configuration into the parts of a program: connection,
// keys, bus, stores. It decides nothing but what a configuration leaves open.
package wire

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
	"github.com/tradepulse/rotator/pkg/store/env"
	"github.com/tradepulse/rotator/pkg/store/natskv"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// Options say for whom the parts are.
type Options struct {
	Config *config.Config
	// Role is the program's part in what it publishes, such as worker.
	Role string
	// Connect says how to reach the embedded server of this process; its zero
	// value goes by the configuration.
	Connect events.ConnectConfig
	// DataDir is where a single node keeps its keys.
	DataDir string
	// Make lets a single node make keys and streams that are not there yet.
	Make bool
	// Forwards says that the program carries announcements to EventBridge if the
	// configuration has that.
	Forwards bool
	// Stores opens the stores.
	Stores bool
	// Listen is for a program that publishes no event: on a cluster it needs no
	// signing key.
	Listen bool
	Logger *slog.Logger
	// LookupEnv reads the environment variables that hold secrets of the program
	// itself. Nil means os.LookupEnv.
	LookupEnv func(string) (string, bool)
}

// Parts are what a program works with.
type Parts struct {
	Conn    *nats.Conn
	Bus     *events.Bus
	Catalog *catalog.Catalog
	Stores  *store.Set // empty without Options.Stores
	Source  string
}

// Open returns the parts. It waits for the bus as long as ctx lives.
func Open(ctx context.Context, o Options) (*Parts, error) {
	signer, trusted, err := o.keys()
	if err != nil {
		return nil, err
	}
	names, err := events.NewNames(o.Config.NATS.Prefix)
	if err != nil {
		return nil, err
	}
	nc, err := o.connect(ctx)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p := &Parts{Conn: nc, Stores: new(store.Set), Source: "/rotator/" + o.Role + "/" + host}
	p.Bus, err = events.New(nc, events.Config{Names: names, Source: p.Source, Signer: signer, Verifier: trusted, APIPrefix: o.Config.NATS.APIPrefix, Logger: o.Logger})
	if err == nil && o.Make {
		err = p.Bus.EnsureStreams(ctx, events.StreamOptions{Replicas: o.Config.NATS.Replicas, UsesRecords: o.Config.NATS.UsesRecords, EventBridge: o.Forwards && o.Config.EventBridge.On()})
	}
	if err == nil {
		p.Catalog, err = o.catalog(ctx, nc, p.Stores, locator(p.Bus))
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Stores are the stores of a configuration, without what else a program works
// with.
type Stores struct {
	*store.Set
	Catalog *catalog.Catalog
	conn    *nats.Conn // nil when no store is on the bus
}

// NeedsBus reports whether a store of the configuration is on the bus.
func (o Options) NeedsBus() bool {
	for _, s := range o.Config.Stores {
		if _, ok := s.Options.(*config.NATSKV); ok {
			return true
		}
	}
	return false
}

// OpenStores opens the stores alone. It connects to the bus only when a store is
// on it, and then waits for it as long as ctx lives.
func OpenStores(ctx context.Context, o Options) (*Stores, error) {
	o.Stores = true
	s := &Stores{Set: new(store.Set)}
	var err error
	if o.NeedsBus() {
		if s.conn, err = o.connect(ctx); err != nil {
			return nil, err
		}
	}
	if s.Catalog, err = o.catalog(ctx, s.conn, s.Set, nil); err != nil {
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

// Specs returns what is configured for each secret of the configuration, in the
// order of the ids.
func (p *Parts) Specs() []secret.Spec { return configured(p.Catalog) }

func configured(c *catalog.Catalog) []secret.Spec {
	var specs []secret.Spec
	for e := range c.Entries() {
		if e.Origin == catalog.Configured {
			specs = append(specs, e.Spec)
		}
	}
	return specs
}

// Close closes the stores and the connection.
func (p *Parts) Close() error {
	err := p.Stores.Close()
	p.Conn.Close()
	return err
}

func (o Options) lookup() func(string) (string, bool) {
	if o.LookupEnv == nil {
		return os.LookupEnv
	}
	return o.LookupEnv
}

// keys returns the key that signs events, and those that are believed.
func (o Options) keys() (*events.Signer, *events.Verifier, error) {
	var signer *events.Signer
	var trusted []ed25519.PublicKey
	if !o.Listen || o.Config.SingleNode() { // on a single node it is the key of everybody
		var err error
		ref, own := o.Config.SigningKey(o.DataDir)
		if signer, err = o.signer(ref, own); err != nil {
			return nil, nil, err
		}
		trusted = append(trusted, signer.Public())
	}
	for _, path := range o.Config.Signing.TrustedKeys {
		k, err := events.LoadPublicKey(path)
		if err != nil {
			return nil, nil, err
		}
		trusted = append(trusted, k)
	}
	return signer, events.NewVerifier(trusted...), nil
}

func (o Options) signer(ref config.Ref, own bool) (*events.Signer, error) {
	if ref.File != "" {
		s, err := events.LoadSigner(ref.File)
		if !errors.Is(err, os.ErrNotExist) || !own || !o.Make {
			return s, err
		}
		if s, err = events.GenerateSigner(); err != nil {
			return nil, err
		}
		return s, s.Save(ref.File)
	}
	v, err := ref.Read(o.lookup())
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	block, _ := pem.Decode(v.Reveal())
	if block == nil {
		return nil, fmt.Errorf("signing key: %s holds no PEM", ref)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("signing key: %s holds no Ed25519 key in PKCS #8", ref)
	}
	return events.NewSigner(key)
}

func (o Options) connect(ctx context.Context) (*nats.Conn, error) {
	c := o.Connect
	n := o.Config.NATS
	c.Name, c.Logger = "rotator "+o.Role, o.Logger
	if c.InProcess != nil {
		return events.Connect(ctx, c)
	}
	if n.URL != "" {
		c.URL, c.CredsFile, c.NKeyFile, c.User = n.URL, n.Credentials.CredsFile, n.Credentials.NKeyFile, n.Credentials.User
	}
	if !n.Credentials.Password.IsZero() {
		v, err := n.Credentials.Password.Read(o.lookup())
		if err != nil {
			return nil, fmt.Errorf("nats.credentials.password: %w", err)
		}
		c.Password = string(v.Reveal())
	}
	var err error
	if c.TLS, err = tlsConfig(n.TLS); err != nil {
		return nil, fmt.Errorf("nats.tls: %w", err)
	}
	return events.Connect(ctx, c)
}

func tlsConfig(c config.TLS) (*tls.Config, error) {
	if c == (config.TLS{}) {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS13}
	if c.CA != "" {
		pemBytes, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, err
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pemBytes) {
			return nil, fmt.Errorf("%s holds no certificate", c.CA)
		}
	}
	if c.Cert != "" {
		cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, err
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}

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
		return o.bucket(ctx, nc, s)
	case *config.AWS:
		return openAWS(ctx, s, awsTags(s, paths), scope, limits)
	case *config.Vault:
		auth, err := vaultAuth(s.Auth, o.lookup())
		if err != nil {
			return nil, err
		}
		return vault.Open(vault.Config{
			Address: s.Address, Namespace: s.Namespace, CACert: s.CA, Mount: s.Mount, Prefix: s.Prefix, StatePrefix: s.StatePrefix, Scope: scope, Auth: auth,
		})
	case *config.Env:
		return env.Open(env.Config{Paths: paths}), nil
	default:
		return nil, fmt.Errorf("type %s is unknown to this program", opts.Type())
	}
}

// bucket opens an embedded store; what does not make things makes no bucket.
func (o Options) bucket(ctx context.Context, nc *nats.Conn, s *config.NATSKV) (*natskv.Driver, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	key, err := o.masterKey(s)
	if err != nil {
		return nil, err
	}
	return natskv.Open(ctx, natskv.Config{
		JS: js, Bucket: s.Bucket, Replicas: cmp.Or(s.Replicas, o.Config.NATS.Replicas), MasterKey: key,
		Reread: func() ([]byte, error) { return o.masterKey(s) }, Existing: !o.Make,
	})
}

// Bucket is one embedded store, without what else a program works with.
type Bucket struct {
	*natskv.Driver
	// MasterKey says where its master key is kept.
	MasterKey config.Ref
	conn      *nats.Conn
}

// OpenBucket opens an embedded store of the configuration. It waits for the bus
// as long as ctx lives.
func OpenBucket(ctx context.Context, o Options, s *config.NATSKV) (*Bucket, error) {
	nc, err := o.connect(ctx)
	if err != nil {
		return nil, err
	}
	d, err := o.bucket(ctx, nc, s)
	if err != nil {
		nc.Close()
		return nil, err
	}
	ref, _ := s.Key(o.DataDir)
	return &Bucket{Driver: d, MasterKey: ref, conn: nc}, nil
}

// Close closes the store and the connection.
func (b *Bucket) Close() error {
	err := b.Driver.Close()
	b.conn.Close()
	return err
}

// awsTags returns the tags by which AWS is asked for a list. Where no secret is
// configured, those of the discovered ones make it short.
func awsTags(s *config.AWS, paths []string) map[string]string {
	if len(s.Tags) == 0 && len(paths) == 0 && s.Discover != nil {
		return s.Discover.Match
	}
	return s.Tags
}

// AWS opens the driver of a store in AWS Secrets Manager, for whoever lists
// nothing. It makes no call.
func AWS(ctx context.Context, s *config.AWS, limits *awssm.Limits) (*awssm.Driver, error) {
	return openAWS(ctx, s, s.Tags, nil, limits)
}

func openAWS(ctx context.Context, s *config.AWS, tags map[string]string, scope store.Scope, limits *awssm.Limits) (*awssm.Driver, error) {
	return awssm.Open(ctx, awssm.Config{
		Region: s.Region, Profile: s.Profile, AssumeRoleARN: s.AssumeRole, ExternalID: s.ExternalID, Endpoint: s.Endpoint,
		Tags: tags, Scope: scope, WritesPerSecond: float64(s.WritesPerSecond), Limits: limits,
	})
}

// vaultAuth returns how to log in; nil leaves it to the environment.
func vaultAuth(a config.VaultAuth, lookup func(string) (string, bool)) (vault.Auth, error) {
	switch a.Method {
	case "approle":
		id, err := a.SecretID.Read(lookup)
		if err != nil {
			return nil, fmt.Errorf("auth.secret_id: %w", err)
		}
		return vault.AppRole{Mount: a.Mount, RoleID: a.RoleID, SecretID: string(id.Reveal())}, nil
	case "jwt":
		return vault.JWT{Mount: a.Mount, Role: a.Role, File: a.TokenFile}, nil
	case "kubernetes":
		return vault.JWT{Mount: cmp.Or(a.Mount, "kubernetes"), Role: a.Role, File: cmp.Or(a.TokenFile, vault.KubernetesTokenFile)}, nil
	}
	if a.Token.IsZero() {
		return vault.EnvironmentToken(lookup), nil
	}
	token, err := a.Token.Read(lookup)
	if err != nil {
		return nil, fmt.Errorf("auth.token: %w", err)
	}
	return vault.Token{Token: string(token.Reveal())}, nil
}

func (o Options) masterKey(s *config.NATSKV) ([]byte, error) {
	ref, own := s.Key(o.DataDir)
	if ref.File != "" {
		key, err := natskv.LoadMasterKey(ref.File)
		if errors.Is(err, os.ErrNotExist) && own && o.Make {
			return natskv.GenerateMasterKey(ref.File)
		}
		return key, err
	}
	v, err := ref.Read(o.lookup())
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return natskv.ParseMasterKey(string(v.Reveal()))
}
