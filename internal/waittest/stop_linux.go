package waittest

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// Stop stops a process by SIGSTOP, and returns when it has stopped. The signal alone
// only asks for that: until it arrives the process goes on.
func Stop(tb testing.TB, p *os.Process) {
	tb.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		tb.Fatalf("stop process %d: %v", p.Pid, err)
	}
	Until(tb, fmt.Sprintf("process %d has stopped", p.Pid), func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
		if err != nil {
			return err
		}
		_, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
		if !bytes.HasPrefix(state, []byte("T")) {
			return fmt.Errorf("its state is %.1s", state)
		}
		return nil
	})
}
