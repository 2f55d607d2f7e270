// Package eventstest gives tests a real NATS server in their own process, and a
// bus on it. Only tests import it.
package eventstest

import (
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/events"
)

// Server is a real nats-server with JetStream whose files outlive a restart.
// Inside of a testing/synctest bubble call [StartClock] before the bubble.
type Server struct {
	t       testing.TB
	dir     string
	listen  bool
	port    int   // where it listens, so that it comes back there
	pending int64 // max_pending, 0 for the server's default
	lags    atomic.Bool
	current atomic.Pointer[server.Server]
	// Signer signs the events of every bus that NewBus returns.
	Signer *events.Signer
}

// StartClock starts the ticker that all servers of a process share, outside of
// any testing/synctest bubble, until stop is called: a bubble must not own it.
func StartClock() (stop func()) {
	ats.Register()
	return ats.Unregister
}

// NewServer starts a server without a socket that ends with the test.
func NewServer(tb testing.TB) *Server {
	tb.Helper()
	return start(tb, false)
}

// NewListener starts a server that listens on a loopback port, for clients that
// want a URL.
func NewListener(tb testing.TB) *Server {
	tb.Helper()
	return start(tb, true)
}

func start(tb testing.TB, listen bool) *Server {
	tb.Helper()
	signer, err := events.GenerateSigner()
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{t: tb, dir: tb.TempDir(), listen: listen, port: server.RANDOM_PORT, Signer: signer}
	s.Start()
	tb.Cleanup(s.Stop)
	return s
}

// URL is where a server that NewListener has started listens, also after a
// restart.
func (s *Server) URL() string { return s.current.Load().ClientURL() }

// SavePublicKey writes the public key of Signer to a file and returns its name,
// for clients that want one.
func (s *Server) SavePublicKey() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "signing.key")
	if err := s.Signer.Save(path); err != nil {
		s.t.Fatal(err)
	}
	return path + ".pub"
}

// Start starts the server on the files that it had.
func (s *Server) Start() {
	s.t.Helper()
	srv, err := server.NewServer(&server.Options{
		ServerName: "test", DontListen: !s.listen, Host: "127.0.0.1", Port: s.port, JetStream: true, StoreDir: s.dir, NoSigs: true, NoLog: true,
		MaxPending: s.pending,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		s.t.Fatal("nats-server did not start")
	}
	if addr, ok := srv.Addr().(*net.TCPAddr); ok {
		s.port = addr.Port
	}
	s.current.Store(srv)
}

// LimitPending restarts the server with another max_pending: how many bytes may
// wait for one connection, and how long a batched answer may be.
func (s *Server) LimitPending(bytes int64) {
	s.t.Helper()
	s.Stop()
	s.pending = bytes
	s.Start()
}

// Stop stops the server. Connections try to come back until Start.
func (s *Server) Stop() {
	s.current.Load().Shutdown()
	s.current.Load().WaitForShutdown()
}

// InProcessConn implements [nats.InProcessConnProvider] for whichever server
// runs, so that a connection survives a restart.
func (s *Server) InProcessConn() (net.Conn, error) { return s.current.Load().InProcessConn() }

// Connect returns a connection that ends with the test.
func (s *Server) Connect() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// NewBus returns a bus on a connection of its own, with the streams in place. With
// [LagVariable] set, direct gets answer from the past from then on.
func (s *Server) NewBus(o events.StreamOptions) *events.Bus {
	s.t.Helper()
	b := s.Bus(s.Signer, s.Signer)
	if err := b.EnsureStreams(s.t.Context(), o); err != nil {
		s.t.Fatal(err)
	}
	if behind := everyLag(s.t); behind > 0 {
		s.Lag(behind)
	}
	return b
}

// Bus returns a bus that signs with one key and trusts another; nil signs
// nothing.
func (s *Server) Bus(signer, trusted *events.Signer) *events.Bus {
	s.t.Helper()
	b, err := events.New(s.Connect(), events.Config{
		Source: "/test", Signer: signer, Verifier: events.NewVerifier(trusted.Public()), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}
