// Package wire turns a configuration into the parts of a program: connection,
// keys, bus, stores. It decides nothing but what a configuration leaves open.
package wire

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
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
	// Absent is what stores on the bus answer when OpenStores shall not connect to it.
	// Nil connects.
	Absent error
	Logger *slog.Logger
	// Waiting makes Open and OpenStores wait for what is not available yet: quorum,
	// streams, buckets, permissions. Nil is for a command, which tries once.
	Waiting *Waiting
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
	Targets *Targets
	Source  string
	// Probes are the buckets of the embedded stores that were opened.
	Probes []events.Probe
}

// Open returns the parts. It waits for the bus as long as ctx lives, and for what is
// on the bus with [Options.Waiting].
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
	if err == nil {
		err = o.reach(ctx, nc, func(ctx context.Context) error { return o.assemble(ctx, p) })
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// assemble makes the streams if o says so, and opens the stores. It can be repeated
// after an error.
func (o Options) assemble(ctx context.Context, p *Parts) error {
	if o.Make {
		if err := p.Bus.EnsureStreams(ctx, o.streams()); err != nil {
			return err
		}
	}
	stores := new(store.Set)
	c, err := o.catalog(ctx, p.Conn, stores, locator(p.Bus))
	if err != nil {
		return errors.Join(err, stores.Close())
	}
	p.Catalog, p.Stores, p.Probes, p.Targets = c, stores, o.probes(), NewTargets(o.Config, c, stores)
	return nil
}

// streams returns how the streams are kept.
func (o Options) streams() events.StreamOptions {
	n := o.Config.NATS
	return events.StreamOptions{
		Replicas: n.Replicas, LogRecords: n.LogRecords, UsesRecords: n.UsesRecords, RecordRetention: time.Duration(n.RecordRetention), RecordBytes: int64(n.RecordBytes),
		EventBridge: o.Forwards && o.Config.EventBridge.On(),
	}
}

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
	if o.Listen && !o.Config.SingleNode() { // on a single node it is the key of everybody
		v, err := events.TrustFiles(o.Config.Signing.TrustedKeys, o.Logger)
		return nil, v, err
	}
	ref, own := o.Config.SigningKey(o.DataDir)
	signer, err := o.signer(ref, own)
	if err != nil {
		return nil, nil, err
	}
	v, err := events.TrustFiles(o.Config.Signing.TrustedKeys, o.Logger, signer)
	if err == nil && ref.File != "" {
		signer.Follow(func() (*events.Signer, error) { return events.LoadSigner(ref.File) }, v, o.Logger)
	}
	return signer, v, err
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

// connect connects to the servers of the configuration, or else as o.Connect says.
func (o Options) connect(ctx context.Context) (*nats.Conn, error) {
	c := o.Connect
	if n := o.Config.NATS; c.InProcess == nil && n.URL != "" {
		var err error
		if c, err = n.Connect(o.lookup()); err != nil {
			return nil, err
		}
		c.Timeout = o.Connect.Timeout
	}
	c.Name, c.Logger = "rotator "+o.Role, o.Logger
	if o.Waiting != nil {
		c.Waiting = o.Waiting.set
	}
	return events.Connect(ctx, c)
}
