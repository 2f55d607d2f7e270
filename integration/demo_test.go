package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
)

// TestFastAPIDemo runs what "go tool task demo:fastapi" runs, for two rotations.
func TestFastAPIDemo(t *testing.T) {
	t.Parallel()
	p := &program{cmd: exec.Command(serverstest.Tool(t, "python"), "../examples/fastapi/demo.py", "--for", "240", "--rotations", "2"), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "ROTATOR="+binary(t, "rotator"))
	p.run(t)
	code := p.wait(t)
	lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
	var sum struct{ Requests, Failed, Records, Rotations int }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil || code != 0 {
		t.Fatalf("exit %d, the last line: %v\n%s", code, err, p.out)
	}
	if sum.Requests == 0 || sum.Failed != 0 || sum.Records < sum.Requests || sum.Rotations < 2 {
		t.Errorf("summary %+v\n%s", sum, p.out)
	}
}
