package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// consumerView is what rotator status says of the secret.
type consumerView struct {
	Version string `json:"version_id"`
	Rollout string
	Wait    int `json:"wait_seconds"`
	Safe    struct {
		Answer, Because string
		Waiting         []struct{ Service, Instance, Reason, Until string }
	} `json:"safe_to_revoke"`
}

// TestConsumersWithoutAClient has a job that wrote its file with agent --once before a
// rotation, and a consumer that a pipeline confirms. The previous version is kept until
// the longest run of the job is over and the consumer is confirmed, and nothing pages.
func TestConsumersWithoutAClient(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	cfg, health := singleNode(t, fmt.Sprintf(`  - id: api/key
    ttl: 1h
    grace: none
    deadline: 1s
    fence: 1s
    create: true
    services: [{name: nightly, kind: job, max_run: 3s}]
    consumers: [{name: erp}]
agent: {service: nightly, files: [{id: api/key, path: %q}]}
`, file))
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	first := statusOf(t, cfg, "the secret is made", func(s consumerView) bool { return s.Version != "" })
	if out, err := exec.Command(binary(t, "notifier"), "agent", "--once", "--config", cfg).CombinedOutput(); err != nil {
		t.Fatalf("agent --once: %v\n%s", err, out)
	}
	if value, err := os.ReadFile(file); err != nil || len(value) == 0 {
		t.Fatalf("the file of the job: %v", err)
	}
	expect(t, 0, first.Version+" → ", "rotate", "api/key", "--config", cfg)

	s := statusOf(t, cfg, "only the consumer is waited for", func(s consumerView) bool {
		return s.Version != first.Version && s.Rollout == "waiting" && len(s.Safe.Waiting) == 1
	})
	how := "rotator confirm api/key --consumer erp --version " + s.Version
	if w := s.Safe.Waiting[0]; s.Safe.Answer != "no" || !strings.Contains(s.Safe.Because, how) || w.Reason != "not_confirmed" || s.Wait != 4 {
		t.Errorf("status says %+v, want %q and a wait of 4 s", s, how)
	}
	confirm := func(code int, says, consumer, version string) {
		t.Helper()
		expect(t, code, says, "confirm", "api/key", "--consumer", consumer, "--version", version, "--config", cfg)
	}
	confirm(1, "api/key has no consumer exp; it has erp", "exp", s.Version)
	confirm(1, "is not current; bring erp to version "+s.Version, "erp", first.Version)
	expect(t, 1, "not configured", "confirm", "api/kez", "--consumer", "erp", "--version", s.Version, "--config", cfg)
	confirm(0, "erp is confirmed to use "+s.Version, "erp", s.Version)
	confirm(0, "erp was confirmed to use "+s.Version, "erp", s.Version)

	s = statusOf(t, cfg, "the version before is retired", func(s consumerView) bool { return s.Rollout == "retired" })
	if s.Safe.Answer != "yes" || !strings.Contains(s.Safe.Because, "if no run of nightly takes longer than 3s") {
		t.Errorf("status says %+v", s.Safe)
	}
	if strings.Contains(node.out.String(), "rollout.stalled") {
		t.Error("the rollout stalled, which pages")
	}
	theOthers(t, cfg)
}

// theOthers runs the other commands that record what a person vouches for.
func theOthers(t *testing.T, cfg string) {
	t.Helper()
	expect(t, 0, "nothing to confirm: no records were lost since", "confirm-fleet", "--reason", "a test", "--config", cfg)
	out := expect(t, 0, `"since":`, "confirm-fleet", "--reason", "a test", "--json", "--config", cfg)
	if !json.Valid([]byte(out)) {
		t.Errorf("confirm-fleet --json prints %s", out)
	}
	expect(t, 1, "no record of nightly/gone is stored", "forget", "nightly/gone", "--reason", "a test", "--config", cfg)
}

// expect runs rotator and returns what it printed.
func expect(t *testing.T, code int, says string, args ...string) string {
	t.Helper()
	out, got := rotator(t, args...)
	if got != code || !strings.Contains(out, says) {
		t.Errorf("rotator %s: exit code %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, says, out)
	}
	return out
}

// statusOf waits until status says of the one secret what ok wants.
func statusOf(t *testing.T, cfg, what string, ok func(consumerView) bool) (s consumerView) {
	t.Helper()
	waittest.Until(t, what, func() error {
		out, code := rotator(t, "status", "--config", cfg, "--json")
		var all []consumerView
		if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) != 1 {
			return fmt.Errorf("status: exit code %d, %w: %s", code, err, out)
		}
		if s = all[0]; !ok(s) {
			return fmt.Errorf("status says %+v", s)
		}
		return nil
	})
	return s
}
