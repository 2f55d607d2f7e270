//go:build linux

package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TestFilesOfAService: a service owns the directory, and puts there what it likes. The
// agent neither waits for a pipe nor follows a link.
func TestFilesOfAService(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, link, own := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "own")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, dir} {
		if err := (Signal{Signal: syscall.SIGURG, PIDFile: path}).Reload(t.Context(), "", change("v1", "x"), secret.Value{}); err == nil || !strings.Contains(err.Error(), "pid file") {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	f := File{Path: filepath.Join(dir, "password")}
	if err := os.Symlink(own, f.marker()); err != nil {
		t.Fatal(err)
	}
	if v := f.told(); v != "" {
		t.Errorf("the note of %s is behind a link", v)
	}
	if err := (Signal{Signal: syscall.SIGURG, PIDFile: own}).Reload(t.Context(), "", change("v1", "x"), secret.Value{}); err != nil {
		t.Errorf("its own process: %v", err)
	}
	if err := os.Chmod(own, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := (Signal{Signal: syscall.SIGURG, PIDFile: own}).Reload(t.Context(), "", change("v1", "x"), secret.Value{}); err == nil {
		t.Error("a file that every user can write names a process")
	}
}

// TestAPIDFileNamesProcessesOfItsOwner: what an agent with more rights signals, the
// owner of the PID file may signal too.
func TestAPIDFileNamesProcessesOfItsOwner(t *testing.T) {
	t.Parallel()
	const stranger = 54321
	s := Signal{PIDFile: "service.pid"}
	if err := s.permitted(os.Getpid(), stranger); err == nil || !strings.Contains(err.Error(), "may not signal") {
		t.Errorf("a file of user %d names a process of user %d: %v", stranger, os.Getuid(), err)
	}
	if err := s.permitted(1<<30, stranger); err == nil {
		t.Error("it names a process that does not exist")
	}
	users, err := usersOf(os.Getpid())
	if err != nil || !slices.Contains(users, os.Getuid()) {
		t.Errorf("this process belongs to %v, %v", users, err)
	}
	if err := s.permitted(os.Getpid(), os.Geteuid()); err != nil {
		t.Error(err)
	}
}
