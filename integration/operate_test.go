package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// TestOperateASingleNode: from what a first start would do to what was done, on one node.
func TestOperateASingleNode(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: api/key, store: main, ttl: 30d, create: true, services: [api]}\n  - {id: api/token, store: main, ttl: 30d, create: true}\n  - {id: api/old, store: main, ttl: 30d}\n")
	run := func(want int, args ...string) (out, errs string) {
		t.Helper()
		out, errs, code := piped(t, "", append(args, "--config", cfg)...)
		if code != want {
			t.Fatalf("%q: exit %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out, errs
	}
	says := func(got string, want ...string) {
		t.Helper()
		for _, one := range want {
			if !strings.Contains(got, one) {
				t.Errorf("it does not say %q:\n%s", one, got)
			}
		}
	}
	out, _ := run(0, "plan")
	says(out, "bus not reached", "at the first start", "create", "not_found")
	run(2, "plan", "--detailed-exitcode")
	run(1, "plan", "--detailed-exitcode", "api/kye")
	saved := filepath.Join(t.TempDir(), "first.plan")
	run(0, "plan", "--out", saved, "--json")
	out, _ = run(0, "list")
	says(out, "api/key", "api/old")

	node := start(t, "run", "--config", cfg)
	ready(t, health)
	waittest.Until(t, "both secrets have a version and a timer", func() error {
		out, errs, code := piped(t, "", "plan", "--json", "--config", cfg)
		var p struct {
			Secrets []struct {
				ID string `json:"version_id"`
			}
			Drift []struct{ Code string }
		}
		if err := json.Unmarshal([]byte(out), &p); err != nil || code != 0 || len(p.Drift) > 0 || p.Secrets[0].ID == "" || p.Secrets[2].ID == "" {
			return fmt.Errorf("plan: exit %d, %w: %s%s", code, err, out, errs)
		}
		return nil
	})
	run(0, "plan", "--detailed-exitcode", "api/key")
	_, errs := run(1, "apply", saved)
	says(errs, "nothing was done", "out of date", "api/key has version")
	_, errs = run(1, "rotate", "api/kye")
	says(errs, "did you mean api/key?")
	run(2, "rotate")
	run(2, "rotate", "--all", "api/key")

	_, errs = run(0, "rotate", "api/key", "api/token", "--reason", "a laptop was stolen", "--ticket", "INC-1")
	says(errs, "(2 of 2)")
	_, errs = run(0, "rotate", "api/key", "api/token", "--ticket", "INC-1") // goes on where it was
	says(errs, "api/key: rotated already under INC-1", "api/token: rotated already under INC-1")
	_, errs = run(1, "rotate", "api/key", "--ticket", "INC-2")
	says(errs, "has not converged yet", "--again")
	_, errs = run(0, "rotate", "--service", "api", "--again")
	says(errs, "is not over")
	_, errs = run(1, "rotate", "--all", "--again")
	says(errs, "ticket rotate-", "(2 of 2)", "describe api/old")
	_, errs = run(1, "wait", "api/key", "--timeout", "1s")
	says(errs, "not converged within 1s", "api: no instance is running")

	fresh := filepath.Join(t.TempDir(), "fresh.plan")
	run(0, "plan", "api/token", "--within", "40d", "--out", fresh)
	out, _ = run(0, "apply", fresh)
	says(out, "api/token: ", " → ")
	_, errs = run(1, "apply", fresh)
	says(errs, "out of date")

	out, _ = run(0, "history", "api/key")
	says(out, "because a laptop was stolen (INC-1)", "was written, and is current", "replaces")
	out, _ = run(0, "explain", "api/key")
	says(out, "because a person asked for it", "api: no instance is running", "start an instance of api")
	out, _ = run(0, "events", "api/token", "--type", "rotated", "--json")
	for line := range strings.Lines(out) {
		var e struct {
			Type string
			Data struct {
				ID string `json:"secret_id"`
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Type != "secret.rotated" || e.Data.ID != "api/token" {
			t.Errorf("a line of events: %s: %v", line, err)
		}
	}
	if n := strings.Count(out, "\n"); n != 4 {
		t.Errorf("%d rotations of api/token are in the log, want 4:\n%s", n, out)
	}
	out, _ = run(1, "status") // api/old is not there
	says(out, "api/key is rolling since", "waits for api: no instance is running")
	watch := start(t, "status", "--watch", "--config", cfg)
	waittest.Until(t, "the tree is there", func() error {
		if got := watch.out.String(); !strings.Contains(got, "├─ api: no instance is running") {
			return fmt.Errorf("status --watch prints %q", got)
		}
		return nil
	})
	if code := watch.drain(t); code != 0 {
		t.Errorf("status --watch ends with %d", code)
	}
	node.drain(t)
}

// TestAWorkerThatKnowsNothingOfASecretSaysSo: the command returns the refusal of the
// worker, which runs with another configuration, and not that time has passed.
func TestAWorkerThatKnowsNothingOfASecretSaysSo(t *testing.T) {
	t.Parallel()
	const one = "  - {id: api/key, store: main, ttl: 30d, create: true}\n"
	cfg, health := singleNode(t, one)
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	appendTo(t, cfg, "  - {id: api/new, store: main, ttl: 30d, create: true}\n")
	out, errs, code := piped(t, "", "rotate", "api/new", "--config", cfg)
	if code != 1 || !strings.Contains(errs, "the worker refuses to rotate api/new") || !strings.Contains(errs, "another configuration") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	node.drain(t)
}

// appendTo adds text at the end of a file.
func appendTo(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
