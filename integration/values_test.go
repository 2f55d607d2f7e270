package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// piped runs the program with a standard input, and returns its standard output and
// standard error.
func piped(t *testing.T, in string, args ...string) (out, errs string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t, "rotator"), args...)
	var o, e bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &o, &e
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// TestValuesAtTheCommandLine: a person puts, reads, rolls back and imports values of
// a running node; each act is on record, and no command shows a value but get.
func TestValuesAtTheCommandLine(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: api/key, store: main, ttl: 1h, create: true, policy: {length: 24}}\n  - {id: api/old, store: main, ttl: 1h}\n")
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	run := func(want int, in string, args ...string) string {
		t.Helper()
		out, errs, code := piped(t, in, append(args, "--config", cfg)...)
		if code != want {
			t.Fatalf("%q: exit %d, want %d\n%s%s", args, code, want, out, errs)
		}
		if strings.Contains(errs, "Supplied-Value") || args[0] != "get" && strings.Contains(out, "Supplied-Value") {
			t.Fatalf("%q shows the value:\n%s%s", args, out, errs)
		}
		return out + errs
	}
	waittest.Until(t, "the first version is there", func() error {
		if out, errs, code := piped(t, "", "get", "api/key", "--config", cfg); code != 0 || len(out) != 24 {
			return fmt.Errorf("get: exit %d, %d bytes: %s", code, len(out), errs)
		}
		return nil
	})
	first := run(0, "", "get", "api/key")

	const mine = "Supplied-Value-0123456789-abc"
	if got := run(1, "short", "put", "api/key"); !strings.Contains(got, "policy") {
		t.Errorf("a value that breaks the policy: %s", got)
	}
	if got := run(2, "", "put", "api/key"); !strings.Contains(got, "standard input is empty") {
		t.Errorf("no value: %s", got)
	}
	if got := run(0, mine[:24]+"\n", "put", "api/key", "--reason", "the vendor chose it", "--ticket", "OPS-7"); !strings.Contains(got, " → ") {
		t.Errorf("put: %s", got)
	}
	if got := run(0, "", "get", "api/key"); got != mine[:24] {
		t.Errorf("after put, get returns %d other bytes", len(got))
	}
	if got := run(0, "", "rollback", "api/key", "--reason", "refused by the replica"); !strings.Contains(got, " → ") {
		t.Errorf("rollback: %s", got)
	}
	if got := run(0, "", "get", "api/key"); got != first {
		t.Error("after rollback, get returns another value than the first one")
	}
	if got := run(0, mine, "import", "api/old", "--reason", "moved"); !strings.Contains(got, "is current") {
		t.Errorf("import: %s", got)
	}
	if got := run(0, "", "get", "api/old"); got != mine {
		t.Error("after import, get returns another value")
	}
	if got := run(1, mine, "import", "api/old"); !strings.Contains(got, "already") {
		t.Errorf("a second import: %s", got)
	}
	var versions []struct{ Stage string }
	if err := json.Unmarshal([]byte(run(0, "", "versions", "api/key", "--json")), &versions); err != nil || len(versions) < 3 || versions[0].Stage != "current" {
		t.Errorf("versions %+v, %v", versions, err)
	}
	if got := run(1, "", "get", "api/kez"); !strings.Contains(got, "api/kez") {
		t.Errorf("a secret that is not there: %s", got)
	}
	if strings.Contains(node.out.String(), "Supplied-Value") {
		t.Error("the node logs the value")
	}
	node.drain(t)
}
