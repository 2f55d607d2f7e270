//go:build linux

package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// onSmallDisk runs the program with a file system of its own of 24 MiB in dir, which
// only it sees, and returns the path under which this process reaches it.
func onSmallDisk(t *testing.T, dir string, args ...string) (p *program, disk string) {
	t.Helper()
	script := fmt.Sprintf("mount -t tmpfs -o size=24m tmpfs %q && exec \"$@\"", dir)
	words := append([]string{"-Urm", "sh", "-c", script, "sh", binary(t, "rotator")}, args...)
	p = &program{cmd: exec.Command("unshare", words...), out: &output{}, done: make(chan struct{})}
	p.run(t)
	return p, filepath.Join("/proc", fmt.Sprint(p.cmd.Process.Pid), "root", dir)
}

// fill writes a file until no byte fits any more.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; size /= 16 {
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAFullDiskIsSeenAndMended: while the disk of a single node is full the node is
// not ready, and a metric says so. Once there is room again it goes on, or it ends for
// its supervisor to start it again.
func TestAFullDiskIsSeenAndMended(t *testing.T) {
	t.Parallel()
	path, health := singleNode(t, "  - {id: A, ttl: 1h, create: true}\n")
	data := filepath.Join(filepath.Dir(path), "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	node, disk := onSmallDisk(t, data, "run", "--config", path)
	ready(t, health)
	if err := shown(t, health, `rotator_bus_unwritable{`, "} 1"); err == nil {
		t.Error("a stream is not writable before the disk is full")
	}
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	waittest.Until(t, "the node is not ready", func() error {
		if err := get(t, "http://"+health+"/readyz", nil); err == nil || !strings.Contains(err.Error(), "publish to stream") {
			return fmt.Errorf("readyz: %w, want 503 because of a stream", err)
		}
		return errors.Join(shown(t, health, `rotator_bus_unwritable{`, "} 1"), shown(t, health, "rotator_disk_used_percent", "100"))
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the node goes on or ends", func() error {
		select {
		case <-node.done:
			if code := node.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(node.out.String(), "has to be started again") {
				t.Fatalf("exit %d", code)
			}
			return nil
		default:
			return get(t, "http://"+health+"/readyz", nil)
		}
	})
}

// shown returns an error unless a line of the metrics has all of the parts.
func shown(t *testing.T, health string, parts ...string) error {
	t.Helper()
	var page string
	if err := get(t, "http://"+health+"/metrics", &page); err != nil {
		return err
	}
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") && containsAll(line, parts) {
			return nil
		}
	}
	return fmt.Errorf("no line of the metrics has %q", parts)
}

func containsAll(s string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}
