package integration

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
)

var prometheusBuild struct {
	once sync.Once
	dir  string
	err  error
}

// prometheusTool returns a program of Prometheus, as tools/prometheus pins it, without
// the discovery of targets in clouds. All tests share one build.
func prometheusTool(t *testing.T, name string) string {
	t.Helper()
	b := &prometheusBuild
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "rotator-prometheus-"); b.err != nil { //nolint:usetesting // it outlives the test that builds
			return
		}
		cmd := exec.Command("go", "-C", "../tools/prometheus", "build", "-tags", "remove_all_sd", "-o", b.dir+string(filepath.Separator),
			"github.com/prometheus/prometheus/cmd/prometheus", "github.com/prometheus/prometheus/cmd/promtool")
		cmd.Stderr = os.Stderr
		b.err = cmd.Run()
	})
	if b.err != nil {
		t.Fatalf("build Prometheus: %v", b.err)
	}
	return filepath.Join(b.dir, name)
}

// prometheusServer is a Prometheus that runs, with the rules of deployments/prometheus.
type prometheusServer struct {
	*program
	t       *testing.T
	address string
}

// startPrometheus starts one that scrapes the addresses, by job.
func startPrometheus(t *testing.T, jobs map[string]string) *prometheusServer {
	t.Helper()
	rules, err := filepath.Abs("../deployments/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var scraped strings.Builder
	for job, address := range jobs {
		fmt.Fprintf(&scraped, "  - {job_name: %s, static_configs: [{targets: [%q]}]}\n", job, address)
	}
	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	writeFile(t, config, fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n%s", rules, &scraped))
	p := &prometheusServer{&program{out: &output{}, done: make(chan struct{})}, t, address}
	p.cmd = exec.Command(prometheusTool(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	p.run(t)
	return p
}

// api gets a path of the API and decodes the data of the answer.
func (p *prometheusServer) api(path string, data any) error {
	p.t.Helper()
	var body string
	if err := get(p.t, "http://"+p.address+"/api/v1/"+path, &body); err != nil {
		return err
	}
	return json.Unmarshal([]byte(body), &struct{ Data any }{data})
}

// query returns the labels of the series that answer a query.
func (p *prometheusServer) query(query string) ([]map[string]string, error) {
	p.t.Helper()
	var data struct {
		Result []struct{ Metric map[string]string }
	}
	err := p.api("query?query="+url.QueryEscape(query), &data)
	var series []map[string]string
	for _, r := range data.Result {
		series = append(series, r.Metric)
	}
	return series, err
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
	p := startPrometheus(t, map[string]string{"go": inGo, "python": inPython})
	for _, name := range []string{"secret_age_seconds", "secret_rotated_total"} {
		waittest.Until(t, "Prometheus has "+name+" of both services", func() error {
			query := fmt.Sprintf(`count by (job) (%s{secret_id=~"TRADEPULSE_.*_ID"}) == 2`, name)
			series, err := p.query(query)
			if err != nil || len(series) != 2 {
				return fmt.Errorf("%s: %v: %w\n%s", query, series, err, p.out)
			}
			return nil
		})
	}
}

// TestAlertsFireAndClear runs the unit tests of the alert rules.
func TestAlertsFireAndClear(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), prometheusTool(t, "promtool"), "test", "rules", "../deployments/prometheus/rules_test.yml").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
