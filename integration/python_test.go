package integration

import (
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// pythonInstance is the name under which a service in Python reports.
const pythonInstance = "python"

// pythonProgram runs a service, which its arguments name with its secrets, until
// its input ends. SIGUSR1 prints what its tasks wait for.
const pythonProgram = `
import asyncio, logging, signal, sys
from tradepulse_rotator import Manager, bus_from_env, source_from_env

def stacks():
    for task in asyncio.all_tasks():
        task.print_stack()

async def main(service, instance, *ids):
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stacks)
    async with Manager(service=service, instance=instance, source=source_from_env(ids), bus=bus_from_env()):
        await asyncio.to_thread(sys.stdin.read)

logging.basicConfig(level=logging.INFO)
asyncio.run(main(*sys.argv[1:]))
`

// pythonService is a process that holds secrets by the client in clients/python.
type pythonService struct {
	log  lockedBuffer
	stop func() // ends it and fails the test unless it ends well
}

// startPython starts a service whose store and bus the variables say.
func startPython(t *testing.T, service string, vars map[string]string, ids ...secret.ID) *pythonService {
	t.Helper()
	args := []string{service, pythonInstance}
	for _, id := range ids {
		args = append(args, string(id))
	}
	return startPythonProgram(t, pythonProgram, vars, args...)
}

// startPythonProgram is startPython with another program, which runs until its input
// ends, too.
func startPythonProgram(t *testing.T, text string, vars map[string]string, args ...string) *pythonService {
	t.Helper()
	args = append([]string{"-c", text}, args...)
	cmd := exec.CommandContext(t.Context(), serverstest.Tool(t, "python"), args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH=../clients/python/src")
	for name, value := range vars {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	p := &pythonService{}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.stop = sync.OnceFunc(func() {
		for after, sig := range map[time.Duration]os.Signal{2 * time.Minute: syscall.SIGUSR1, 3 * time.Minute: os.Kill} {
			defer time.AfterFunc(after, func() { _ = cmd.Process.Signal(sig) }).Stop() // it may have ended
		}
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			t.Errorf("the service in Python: %v; it said:\n%s", err, p.log.String())
		}
	})
	return p
}
