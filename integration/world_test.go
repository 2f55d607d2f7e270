package integration

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/notify"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// broker is a real nats-server in this process whose files outlive it.
type broker struct {
	t      testing.TB
	dir    string
	tcp    bool
	always bool                          // sync each write before it is acknowledged
	port   int                           // of the first start, which the next ones keep
	server atomic.Pointer[server.Server] // read by connections that come back
}

// startBroker starts a server on a fresh directory; with tcp other processes
// can reach it on loopback.
func startBroker(t testing.TB, tcp bool) *broker {
	t.Helper()
	return startBrokerWith(t, &broker{tcp: tcp})
}

func startBrokerWith(t testing.TB, b *broker) *broker {
	t.Helper()
	b.t, b.dir = t, t.TempDir()
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start() {
	b.t.Helper()
	opts := &server.Options{ServerName: "test", JetStream: true, StoreDir: b.dir, NoSigs: true, NoLog: true, DontListen: !b.tcp, Host: "127.0.0.1", Port: cmp.Or(b.port, server.RANDOM_PORT), SyncAlways: b.always}
	s, err := server.NewServer(opts)
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		b.t.Fatal("nats-server did not start")
	}
	if addr, ok := s.Addr().(*net.TCPAddr); ok {
		b.port = addr.Port
	}
	b.server.Store(s)
}

func (b *broker) stop() {
	b.server.Load().Shutdown()
	b.server.Load().WaitForShutdown()
}

func (b *broker) connect() *nats.Conn {
	b.t.Helper()
	opts := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond)}
	url := ""
	if b.tcp {
		url = b.server.Load().ClientURL()
	} else {
		opts = append(opts, nats.InProcessServer(b))
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		b.t.Fatal(err)
	}
	return nc
}

// InProcessConn reaches whichever server is running now, so that a connection
// survives a restart of the broker.
func (b *broker) InProcessConn() (net.Conn, error) { return b.server.Load().InProcessConn() }

// site is one deployment on a broker: its keys, its store, its secrets.
type site struct {
	t       testing.TB
	broker  *broker
	keys    keys
	signer  *events.Signer
	trusted *events.Verifier
	master  []byte
	specs   []secret.Spec
	log     *slog.Logger
	streams events.StreamOptions
	traces  trace.TracerProvider // nil means the global one
	meters  metric.MeterProvider // nil means the global one
	backend service              // where the secrets are; the zero value is the broker
	timeout time.Duration        // of calls to the store; 0 means the default
	circuit store.Circuit
	retries time.Duration // at most, between two tries of a rotation; 0 means the default
}

func newSite(t testing.TB, b *broker, specs ...secret.Spec) *site {
	t.Helper()
	return newSiteWith(t, b, events.StreamOptions{}, specs...)
}

func newSiteWith(t testing.TB, b *broker, o events.StreamOptions, specs ...secret.Spec) *site {
	t.Helper()
	s := &site{streams: o, t: t, broker: b, specs: specs, master: make([]byte, 32), log: slog.New(slog.DiscardHandler)}
	if os.Getenv("ROTATOR_TEST_LOG") != "" {
		s.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if _, err := rand.Read(s.master); err != nil {
		t.Fatal(err)
	}
	s.keys, s.signer, s.trusted = newKeys(t)
	nc := b.connect()
	defer nc.Close()
	if err := s.bus(nc, "setup").EnsureStreams(t.Context(), s.streams); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) bus(nc *nats.Conn, role string) *events.Bus {
	s.t.Helper()
	b, err := events.New(nc, events.Config{Source: "/test/" + role, Signer: s.signer, Verifier: s.trusted, Logger: s.log, TracerProvider: s.traces, MeterProvider: s.meters})
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// catalog opens the embedded store over nc.
func (s *site) catalog(nc *nats.Conn) catalogued {
	s.t.Helper()
	return s.catalogOver(nc, func(d store.Driver) store.Driver { return d })
}

// catalogOver is catalog with the driver behind wrap.
func (s *site) catalogOver(nc *nats.Conn, wrap func(store.Driver) store.Driver) catalogued {
	s.t.Helper()
	d, err := s.backend.open(s.t.Context(), nc, s.master)
	if err != nil {
		s.t.Fatal(err)
	}
	st, err := store.New("embedded", wrap(d), &store.Options{Timeout: s.timeout, Circuit: s.circuit, Logger: s.log, TracerProvider: s.traces})
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := manage(s.specs, st)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// seed writes a first version of every secret.
func (s *site) seed() {
	s.t.Helper()
	nc := s.broker.connect()
	defer nc.Close()
	c := s.catalog(nc)
	for _, spec := range s.specs {
		if _, err := putVersion(s.t.Context(), c, spec.ID); err != nil {
			s.t.Fatal(err)
		}
	}
}

// putVersion writes and promotes a version past every rotator.
func putVersion(ctx context.Context, c catalogued, id secret.ID) (secret.VersionID, error) {
	spec, st, err := c.locate(id)
	if err != nil {
		return "", err
	}
	value, err := spec.ValuePolicy().Generate(nil)
	if err != nil {
		return "", err
	}
	var from secret.VersionID
	if meta, err := st.Describe(ctx, spec.StorePath()); err == nil {
		from = meta.Current().ID
	}
	token := secret.NewToken(id, from, "another policy", int(time.Now().UnixNano()))
	v, err := st.Put(ctx, spec.StorePath(), store.Write{Token: token, From: from, Value: value, Create: true})
	if err != nil {
		return "", err
	}
	return v.ID, st.Promote(ctx, spec.StorePath(), from, v.ID)
}

// process is some roles on one connection, as one process would run them.
type process struct {
	stop func()
	done chan error
}

// run starts roles on a connection of their own; stop ends them and waits.
func (s *site) run(name string, roles ...func(context.Context, *nats.Conn) error) *process {
	s.t.Helper()
	nc := s.broker.connect()
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	p := &process{done: make(chan error, len(roles))}
	for _, role := range roles {
		go func() { p.done <- role(ctx, nc) }()
	}
	p.stop = func() {
		cancel()
		for range roles {
			select {
			case err := <-p.done:
				if err != nil {
					s.t.Errorf("%s: %v", name, err)
				}
			case <-time.After(5 * time.Minute):
				s.t.Fatalf("%s does not end", name)
			}
		}
		nc.Close()
	}
	return p
}

func (s *site) scheduler(every time.Duration) func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error {
		c := s.catalog(nc)
		sch, err := scheduler.New(scheduler.Config{Catalog: c.Catalog, Stores: c.stores, Bus: s.bus(nc, "scheduler"), Source: "/test/scheduler", SweepEvery: every, Logger: s.log, TracerProvider: s.traces})
		if err != nil {
			return err
		}
		return sch.Run(ctx)
	}
}

func (s *site) worker(concurrency int) func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error { return s.workerOn(s.catalog(nc), concurrency)(ctx, nc) }
}

func (s *site) workerOn(c catalogued, concurrency int) func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error {
		bus := s.bus(nc, "worker")
		r, err := rotation.New(rotation.Config{Catalog: c, Stores: c.stores, Bus: bus, Timers: bus, Source: "/test/worker", Logger: s.log, RetryBase: time.Second, RetryCap: s.retries, TracerProvider: s.traces})
		if err != nil {
			return err
		}
		return bus.Consume(ctx, events.ConsumeConfig{Consumer: events.WorkerConsumer, Concurrency: concurrency, Retry: r.Retry}, r.Handle)
	}
}

func (s *site) notifier() func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error {
		c, err := catalog.New(catalog.Config{Specs: s.specs})
		if err != nil {
			return err
		}
		n, err := notify.New(notify.Config{Bus: s.bus(nc, "notifier"), Catalog: c, Source: "/test/notifier", Logger: s.log, TracerProvider: s.traces})
		if err != nil {
			return err
		}
		return n.Run(ctx)
	}
}

// binary builds one of the programs once per test run and returns its path.
func binary(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(binaries(t), name)
}

func describe(t testing.TB, c catalogued, id secret.ID) secret.Metadata {
	t.Helper()
	spec, st, err := c.locate(id)
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.Describe(t.Context(), spec.StorePath())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ids(prefix string, n int) []secret.ID {
	out := make([]secret.ID, n)
	for i := range out {
		out[i] = secret.ID(fmt.Sprintf("%s_%04d", prefix, i))
	}
	return out
}
