package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
)

// TestTheDrill runs what "go tool task demo:drill" runs.
func TestTheDrill(t *testing.T) {
	t.Parallel()
	p := &program{cmd: exec.Command(serverstest.Tool(t, "python"), "../examples/drill/drill.py"), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "ROTATOR="+binary(t, "rotator"))
	p.run(t)
	code := p.wait(t)
	lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
	var sum struct {
		Named, Detail    string
		Requests, Failed int
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil || code != 0 {
		t.Fatalf("exit %d, the last line: %v\n%s", code, err, p.out)
	}
	if !strings.HasPrefix(sum.Named, "127.0.0.1:") || !strings.HasPrefix(sum.Detail, "orders-production, since ") || sum.Requests == 0 || sum.Failed != 0 {
		t.Errorf("summary %+v\n%s", sum, p.out)
	}
}
