//go:build linux

package agent

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAProcessThatBeganLaterIsNotSignalled: a number that is older than the process
// belongs to another one, whichever signal is sent and wherever the number is from.
func TestAProcessThatBeganLaterIsNotSignalled(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(pid, []byte(strconv.Itoa(child.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(pid, old, old); err != nil {
		t.Fatal(err)
	}
	for name, sig := range Signals() {
		for _, s := range []Signal{{Signal: sig, PIDFile: pid}, {Signal: sig, PID: child.Process.Pid, Written: old}} {
			if err := s.Reload(t.Context(), "", change("v1", "one"), secret.Value{}); !errors.Is(err, errStale) {
				t.Errorf("%s: err %v, want %v", name, err, errStale)
			}
			if got := (File{Reload: s}).program(); got != 0 {
				t.Errorf("the process %d is on record as the program", got)
			}
		}
	}
	now := time.Now()
	if err := os.Chtimes(pid, now, now); err != nil {
		t.Fatal(err)
	}
	if err := (Signal{Signal: syscall.SIGTERM, PIDFile: pid}).Reload(t.Context(), "", change("v1", "one"), secret.Value{}); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the process ended with %v", err)
	}
}
