package serverstest

import (
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// StartMinistack starts the other emulator of AWS, with Secrets Manager alone, and
// returns its endpoint. Any credentials will do. What it and moto disagree about
// is what to look up in the documentation of AWS.
func StartMinistack(t testing.TB) string {
	t.Helper()
	port, dir := FreePort(t), t.TempDir()
	// Its own server answers before it has read a request to its end.
	cmd := exec.Command(Tool(t, "uvicorn"), "ministack.app:app", "--host", "127.0.0.1", "--port", strconv.Itoa(port), "--log-level", "error", "--no-access-log")
	cmd.Env = append(os.Environ(), "BIND_HOST=127.0.0.1", "SERVICES=secretsmanager", "LOG_LEVEL=ERROR",
		"HOME="+dir, "TMPDIR="+dir, "DOCKER_HOST=unix://"+dir+"/none") // it would look for containers of an earlier run
	p := run(t, cmd)
	p.await(loopback(port)+"/_ministack/health", func(status int) bool { return status == http.StatusOK })
	return distant(t, loopback(port))
}
