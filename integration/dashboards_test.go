package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDashboardsParse has the parser of Prometheus read every query of
// deployments/grafana, as the expression of a recording rule.
func TestDashboardsParse(t *testing.T) {
	t.Parallel()
	boards, err := filepath.Glob("../deployments/grafana/*.json")
	if err != nil || len(boards) == 0 {
		t.Fatalf("%v: no dashboards", err)
	}
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboards\n    rules:\n")
	n := 0
	for _, path := range boards {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels []struct{ Targets []struct{ Expr string } }
		}
		if err := json.Unmarshal(content, &board); err != nil {
			t.Fatal(err)
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				n++
				expr := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*").Replace(target.Expr)
				fmt.Fprintf(&rules, "      - record: query_%d\n        expr: %q\n", n, expr)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), prometheusTool(t, "promtool"), "check", "rules", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("%d rules found", n)) {
		t.Errorf("%v\n%s", err, out)
	}
}
