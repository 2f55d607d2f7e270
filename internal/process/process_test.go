//go:build linux

package process_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/tradepulse/rotator/internal/process"
	"github.com/tradepulse/rotator/internal/waittest"
)

func TestAProcessIsNamedForEver(t *testing.T) {
	t.Parallel()
	self, err := process.Of(os.Getpid())
	if err != nil || self.PID != os.Getpid() || self.BootID == "" || self.StartTicks == 0 {
		t.Fatalf("this process is %+v, err %v", self, err)
	}
	if process.Ended(self) {
		t.Error("this process has ended")
	}
	later := *self
	later.StartTicks++
	booted := *self
	booted.BootID = "another boot"
	if !process.Ended(&later) || !process.Ended(&booted) {
		t.Error("a process that had the same PID is taken for this one")
	}
}

func TestAnEndIsSeenBeforeTheParentWaits(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), "cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := process.Of(child.Process.Pid)
	if err != nil || process.Ended(p) {
		t.Fatalf("the child is %+v, ended %t, err %v", p, err == nil && process.Ended(p), err)
	}
	if err := in.Close(); err != nil { // cat ends with its input
		t.Fatal(err)
	}
	waittest.Until(t, "the child has ended", func() error {
		if _, err := process.Of(p.PID); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("err %w", err)
		}
		return nil
	})
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	if !process.Ended(p) {
		t.Error("a process that was waited for has not ended")
	}
}
