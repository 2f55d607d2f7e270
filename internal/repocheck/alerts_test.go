package repocheck_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/otlptranslator"
)

var (
	// An instrument: its kind, name and unit, see internal/telemetry.
	instrument = regexp.MustCompile(`\.(Counter|UpDownCounter|Histogram|Gauge|TimeGauge|Observable|ObservableTime)\("([a-z._]+)", "([^"]+)"`)
	// A gauge of the programs themselves, which has no unit.
	plainGauge = regexp.MustCompile(`\.Int64Gauge\("([a-z._]+)", metric\.WithDescription`)
	// A metric of ours in an expression.
	metricName = regexp.MustCompile(`\b(?:rotator|secret)_[a-z_]+\b`)
	labelName  = regexp.MustCompile(`[{,]\s*([a-z_]+)=`)
	runbookRow = regexp.MustCompile("(?m)^\\| `([^`]+)`[^|]*\\|")
)

// TestEveryAlertIsOfAMetricThatExists holds deployments/prometheus/rules.yml to the code, and to the table of the runbook.
func TestEveryAlertIsOfAMetricThatExists(t *testing.T) {
	exported, source := metrics(t)
	var expressions []string
	for _, r := range rules(t) {
		used := metricName.FindAllString(r.Expr, -1)
		if len(used) == 0 && !strings.HasPrefix(r.Expr, "probe_success") {
			t.Errorf("%s: %q names no metric of ours", r.Alert, r.Expr)
		}
		for _, name := range used {
			if name != "secret_id" && !exported[name] { // a label
				t.Errorf("%s: there is no metric %s", r.Alert, name)
			}
		}
		for _, label := range labelName.FindAllStringSubmatch(r.Expr, -1) {
			if label[1] != "job" && !strings.Contains(source, `("`+label[1]+`", `) {
				t.Errorf("%s: no metric has the attribute %s", r.Alert, label[1])
			}
		}
		if !strings.HasPrefix(r.Annotations["runbook"], "docs/runbook.md#") {
			t.Errorf("%s names no part of the runbook", r.Alert)
		}
		expressions = append(expressions, r.Expr)
	}
	runbook, err := os.ReadFile(filepath.Join(root, "docs/runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := runbookRow.FindAllStringSubmatch(string(runbook), -1)
	if len(rows) != len(expressions) {
		t.Errorf("the runbook has %d alerts, the rules %d", len(rows), len(expressions))
	}
	for _, row := range rows {
		row[1] = strings.ReplaceAll(row[1], `\|`, "|") // as a table has it
		for _, name := range metricName.FindAllString(row[1], -1) {
			_, selector, _ := strings.Cut(row[1], name)
			selector, _, _ = strings.Cut(name+selector, " > ")
			selector, _, _ = strings.Cut(selector, "[")
			if !strings.Contains(strings.Join(expressions, "\n"), selector) {
				t.Errorf("no rule has the runbook's %s", row[1])
			}
		}
	}
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) []rule {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "deployments/prometheus/rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) == 0 {
		t.Fatal("rules.yml has no rules")
	}
	return file.Groups[0].Rules
}

// metrics returns every metric that the programs export, by its name in Prometheus, and all code.
func metrics(t *testing.T) (exported map[string]bool, source string) {
	t.Helper()
	kinds := map[string]otlptranslator.MetricType{
		"Counter": otlptranslator.MetricTypeMonotonicCounter, "UpDownCounter": otlptranslator.MetricTypeNonMonotonicCounter,
		"Histogram": otlptranslator.MetricTypeHistogram, "Gauge": otlptranslator.MetricTypeGauge, "Observable": otlptranslator.MetricTypeGauge, "ObservableTime": otlptranslator.MetricTypeGauge,
	}
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	exported = map[string]bool{}
	var all strings.Builder
	files(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return
		}
		all.Write(content)
		for _, m := range instrument.FindAllStringSubmatch(string(content), -1) {
			prometheus, err := namer.Build(otlptranslator.Metric{Name: m[2], Unit: m[3], Type: kinds[m[1]]})
			if err != nil {
				t.Fatal(err)
			}
			exported[prometheus] = true
		}
		for _, m := range plainGauge.FindAllStringSubmatch(string(content), -1) {
			exported[strings.ReplaceAll(m[1], ".", "_")] = true
		}
	})
	if len(exported) < 15 {
		t.Fatalf("found %d metrics in the code, there are more", len(exported))
	}
	return exported, all.String()
}
