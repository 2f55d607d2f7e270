package eventstest

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Guarded is a real nats-server that listens and knows two users: admin with the
// password admin, and service, whose password can change while it runs.
type Guarded struct {
	t    testing.TB
	srv  *server.Server
	opts *server.Options
}

// NewGuarded starts a server that ends with the test.
func NewGuarded(tb testing.TB, password string) *Guarded {
	tb.Helper()
	g := &Guarded{t: tb, opts: &server.Options{
		ServerName: "guarded", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: tb.TempDir(), NoSigs: true, NoLog: true,
		Users: users(password),
	}}
	var err error
	if g.srv, err = server.NewServer(g.opts.Clone()); err != nil {
		tb.Fatal(err)
	}
	g.srv.Start()
	tb.Cleanup(func() {
		g.srv.Shutdown()
		g.srv.WaitForShutdown()
	})
	if !g.srv.ReadyForConnections(20 * time.Second) {
		tb.Fatal("nats-server did not start")
	}
	if addr, ok := g.srv.Addr().(*net.TCPAddr); ok {
		g.opts.Port = addr.Port
	}
	return g
}

func users(password string) []*server.User {
	return []*server.User{{Username: "admin", Password: "admin"}, {Username: "service", Password: password}}
}

// URL is where the server listens, without credentials.
func (g *Guarded) URL() string { return g.srv.ClientURL() }

// SetPassword changes the password of service. The server ends the connections
// that were made with the one before.
func (g *Guarded) SetPassword(password string) {
	g.t.Helper()
	o := g.opts.Clone()
	o.Users = users(password)
	if err := g.srv.ReloadOptions(o); err != nil {
		g.t.Fatal(err)
	}
}
