package natskv_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// startServer runs a real server and returns its JetStream and its directory.
func startServer(t *testing.T) (jetstream.JetStream, string) {
	t.Helper()
	s, dir := runServer(t)
	_, js := connect(t, s)
	return js, dir
}

func runServer(t *testing.T) (s *server.Server, dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("nats-server did not start")
	}
	return s, dir
}

func connect(t *testing.T, s *server.Server) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// cut returns a driver whose connection has ended.
func cut(t *testing.T, s *server.Server) *natskv.Driver {
	t.Helper()
	nc, js := connect(t, s)
	d := open(t, js, masterKey(1))
	nc.Close()
	return d
}
