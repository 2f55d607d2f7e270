package serverstest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// PgBouncer is a PgBouncer that a test configures.
type PgBouncer struct {
	// Address is where it listens once Start has returned, if its configuration
	// has Port.
	Address string
	// Port is free.
	Port int
	// Dir is a directory for its files, among them pgbouncer.ini.
	Dir string

	process *process
}

// NewPgBouncer returns a PgBouncer that does not run yet.
func NewPgBouncer(t testing.TB) *PgBouncer {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgbouncer") //nolint:usetesting // only root could enter a directory of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := FreePort(t)
	return &PgBouncer{Address: fmt.Sprintf("127.0.0.1:%d", port), Port: port, Dir: dir}
}

// Start runs it, as another user than root, which it refuses, and waits until it
// listens.
func (p *PgBouncer) Start(t testing.TB) {
	t.Helper()
	own(t, p.Dir)
	cmd := exec.Command(pgbouncer(t), filepath.Join(p.Dir, "pgbouncer.ini"))
	cmd.Dir = "/"
	unprivileged(cmd)
	p.process = run(t, cmd)
	deadline := time.Now().Add(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-p.process.done:
			t.Fatalf("pgbouncer has ended:\n%s", p.process.out)
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			t.Fatalf("pgbouncer does not listen: %v\n%s", err, p.process.out)
		}
	}
}

// Log returns what it has logged so far.
func (p *PgBouncer) Log() string { return p.process.out.String() }

func pgbouncer(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("there is no PgBouncer: install the package pgbouncer of the system")
	}
	return path
}
