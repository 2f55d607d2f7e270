package integration

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
)

// prometheusTool builds a program of Prometheus, as tools/prometheus pins it, without
// the discovery of targets in clouds.
func prometheusTool(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	build := exec.CommandContext(t.Context(), "go", "-C", "../tools/prometheus", "build", "-tags", "remove_all_sd", "-o", path,
		"github.com/prometheus/prometheus/cmd/"+name)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// inDevelopment are the secrets of the examples without a store.
var inDevelopment = []string{"TRADEPULSE_AUDIT_SECRET=Audit-Key-For-Tests-1", "TRADEPULSE_ADMIN_TOKEN=Admin-Token-For-Tests-1"}

// goExample starts examples/service with the environment as its store, and returns its
// address.
func goExample(t *testing.T, env ...string) (*program, string) {
	t.Helper()
	binary, address := filepath.Join(t.TempDir(), "service"), freeAddress(t)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../examples/service").CombinedOutput(); err != nil {
		t.Fatalf("build the service: %v\n%s", err, out)
	}
	p := &program{cmd: exec.Command(binary), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "AUDIT_LOG="+filepath.Join(t.TempDir(), "audit.log"), "LISTEN="+address), env...)
	p.run(t)
	return p, address
}

// fastAPIExample starts examples/fastapi in the same way.
func fastAPIExample(t *testing.T, env ...string) (*program, string) {
	t.Helper()
	address := freeAddress(t)
	host, port, _ := strings.Cut(address, ":")
	p := &program{out: &output{}, done: make(chan struct{})}
	p.cmd = exec.Command(serverstest.Tool(t, "python"), "-m", "uvicorn", "--app-dir", "../examples/fastapi", "--host", host, "--port", port, "app:app")
	p.cmd.Env = append(append(os.Environ(), "PYTHONPATH=../clients/python/src", "PYTHONDONTWRITEBYTECODE=1",
		"AUDIT_LOG="+filepath.Join(t.TempDir(), "audit.jsonl")), env...)
	p.run(t)
	return p, address
}

// TestPrometheusScrapesBothExamples runs a Prometheus with the rules of
// deployments/prometheus, and asks it for what both services export.
func TestPrometheusScrapesBothExamples(t *testing.T) {
	t.Parallel()
	_, inGo := goExample(t, inDevelopment...)
	_, inPython := fastAPIExample(t, inDevelopment...)
	rules, err := filepath.Abs("../deployments/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	writeFile(t, config, fmt.Sprintf(`global: {scrape_interval: 1s}
rule_files: [%q]
scrape_configs:
  - {job_name: go, static_configs: [{targets: [%q]}]}
  - {job_name: python, static_configs: [{targets: [%q]}]}
`, rules, inGo, inPython))
	p := &program{out: &output{}, done: make(chan struct{})}
	p.cmd = exec.Command(prometheusTool(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	p.run(t)
	for _, name := range []string{"secret_age_seconds", "secret_rotated_total"} {
		waittest.Until(t, "Prometheus has "+name+" of both services", func() error {
			query := fmt.Sprintf(`count by (job) (%s{secret_id=~"TRADEPULSE_.*_ID"}) == 2`, name)
			jobs, err := queried(t, address, query)
			if err != nil || len(jobs) != 2 {
				return fmt.Errorf("%s: of the jobs %q: %w\n%s", query, jobs, err, p.out)
			}
			return nil
		})
	}
}

// queried returns the jobs in the answer of a query.
func queried(t *testing.T, address, query string) (jobs []string, err error) {
	t.Helper()
	var body string
	if err := get(t, "http://"+address+"/api/v1/query?query="+url.QueryEscape(query), &body); err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric struct {
					Job string `json:"job"`
				} `json:"metric"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, err
	}
	for _, r := range answer.Data.Result {
		jobs = append(jobs, r.Metric.Job)
	}
	return jobs, nil
}

// TestAlertsFireAndClear runs the unit tests of the alert rules.
func TestAlertsFireAndClear(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), prometheusTool(t, "promtool"), "test", "rules", "../deployments/prometheus/rules_test.yml").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
