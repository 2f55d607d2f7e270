package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
)

// TestTheDrillLeavesNoProcesses: one that is told to stop ends what it has started,
// servers and commands.
func TestTheDrillLeavesNoProcesses(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprintf("ROTATOR_TEST_DRILL=%d %s", os.Getpid(), t.Name())
	p := &program{cmd: exec.Command(serverstest.Tool(t, "python"), "../examples/drill/drill.py"), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "ROTATOR="+binary(t, "rotator"), mark)
	p.run(t)
	waittest.Until(t, "the drill runs its database and its store", func() error {
		if all := strings.Join(marked(t, mark), "\n"); !strings.Contains(all, "bin/postgres -D") || !strings.Contains(all, "bao server") {
			return errors.New(all + p.out.String())
		}
		return nil
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit %d\n%s", code, p.out)
	}
	if left := marked(t, mark); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// marked returns the command lines of the processes with a variable.
func marked(t *testing.T, variable string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, dir := range all {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !bytes.Contains(env, []byte(variable+"\x00")) {
			continue // it has ended, or belongs to another user
		}
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		out = append(out, string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
	}
	return out
}
