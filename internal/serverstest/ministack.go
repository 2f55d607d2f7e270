package serverstest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"
)

// StartMinistack starts the other emulator of AWS, with Secrets Manager alone, and
// returns its endpoint. Any credentials will do. What it and moto disagree about
// is what to look up in the documentation of AWS.
func StartMinistack(t testing.TB) string {
	t.Helper()
	port, dir := freePort(t), t.TempDir()
	cmd := exec.Command(Tool(t, "ministack"))
	cmd.Env = append(os.Environ(), "BIND_HOST=127.0.0.1", fmt.Sprintf("GATEWAY_PORT=%d", port), "SERVICES=secretsmanager", "LOG_LEVEL=ERROR",
		"HOME="+dir, "TMPDIR="+dir, "DOCKER_HOST=unix://"+dir+"/none") // it would look for containers of an earlier run
	p := run(t, cmd)
	p.await(loopback(port)+"/_ministack/health", func(status int) bool { return status == http.StatusOK })
	return loopback(port)
}
