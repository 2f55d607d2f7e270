package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tradepulse/rotator/internal/waittest"
)

// joiner writes the configuration of a process that joins the cluster at an
// address, and returns its path and the address of its health.
func joiner(t *testing.T, address string) (path, health string) {
	t.Helper()
	dir := t.TempDir()
	key, health := filepath.Join(dir, "signing.key"), freeAddress(t)
	_, signer, _ := newKeys(t)
	if err := signer.Save(key); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROTATOR_TEST_MASTER", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	text := fmt.Sprintf("nats: {url: %q}\nsigning: {key: {file: %q}}\nhttp: {listen: %q}\nlog: {format: json}\nstores: {main: {type: natskv, master_key: {env: ROTATOR_TEST_MASTER}}}\nsecrets: [{id: A, store: main, ttl: 1h, create: true}]\n",
		"nats://"+address, key, health)
	path = filepath.Join(dir, "rotator.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, health
}

// serveAt runs a server at a fixed address until stop is called.
func serveAt(t *testing.T, address, dir string) (stop func()) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{ServerName: "test", JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true, Host: host, Port: n})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server did not start")
	}
	return func() { s.Shutdown(); s.WaitForShutdown() }
}

// TestNATSComesAndGoes starts a node before its bus, and takes the bus away
// again: the node waits, says so, and goes on when it is back.
func TestNATSComesAndGoes(t *testing.T) { //nolint:paralleltest // it sets the environment
	address, dir := freeAddress(t), t.TempDir()
	path, health := joiner(t, address)
	node := start(t, "run", "--config", path)
	notReady := func(log string) {
		t.Helper()
		waittest.Until(t, "the node says that it is not ready", func() error {
			select {
			case <-node.done:
				t.Fatalf("it has ended:\n%s", node.out)
			default:
			}
			if err := get(t, "http://"+health+"/readyz", nil); err == nil || !strings.Contains(err.Error(), "503") {
				return fmt.Errorf("readyz: %w, want 503", err)
			}
			if !strings.Contains(node.out.String(), log) {
				return fmt.Errorf("the log does not say %s", log)
			}
			return get(t, "http://"+health+"/healthz", nil)
		})
	}
	notReady("nats.unreachable")
	stop := serveAt(t, address, dir)
	ready(t, health)
	stop()
	notReady("nats.disconnected")
	stop = serveAt(t, address, dir)
	defer stop()
	ready(t, health)
	waittest.Until(t, "the node is connected again", func() error {
		if !strings.Contains(node.out.String(), "nats.reconnected") {
			return fmt.Errorf("the log does not say nats.reconnected")
		}
		return nil
	})
	if code := node.drain(t); code != 0 {
		t.Errorf("exit %d:\n%s", code, node.out)
	}
}

// TestAServerThatIsTooOld runs a node on a real nats-server from before message
// schedules repeated: it says what is wrong and what is needed, and ends.
func TestAServerThatIsTooOld(t *testing.T) { //nolint:paralleltest // it sets the environment
	old := filepath.Join(t.TempDir(), "nats-server")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile=../tools/oldnats/go.mod", "-o", old, "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the old server: %v\n%s", err, out)
	}
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	srv := &program{cmd: exec.Command(old, "-a", "127.0.0.1", "-p", port, "-js", "-sd", t.TempDir()), out: &output{}, done: make(chan struct{})}
	srv.run(t)
	path, _ := joiner(t, address)
	out, code := rotator(t, "run", "--config", path)
	if code != 1 || !strings.Contains(out, "NATS server is too old: it is 2.12.") || !strings.Contains(out, "need 2.14 or later") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
