package repocheck_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// histogramPart is what Prometheus appends to the name of a histogram.
var histogramPart = regexp.MustCompile(`_(bucket|sum|count)$`)

// TestEveryDashboardIsOfMetricsThatExist holds deployments/grafana to the code: metrics, and the labels that queries select or group by.
func TestEveryDashboardIsOfMetricsThatExist(t *testing.T) {
	exported, source := metrics(t)
	grouped := regexp.MustCompile(`by \(([a-z_, ]+)\)`)
	queries := 0
	for title, query := range dashboardQueries(t) {
		queries++
		found := false
		for _, name := range metricName.FindAllString(query, -1) {
			if name == "secret_id" { // a label
				continue
			}
			found = true
			if !exported[name] && !exported[histogramPart.ReplaceAllString(name, "")] {
				t.Errorf("%s: there is no metric %s", title, name)
			}
		}
		if !found {
			t.Errorf("%s: %q names no metric of ours", title, query)
		}
		labels := labelName.FindAllStringSubmatch(query, -1)
		for _, g := range grouped.FindAllStringSubmatch(query, -1) {
			for label := range strings.SplitSeq(g[1], ",") {
				labels = append(labels, []string{"", strings.TrimSpace(label)})
			}
		}
		for _, label := range labels {
			if name := label[1]; name != "job" && name != "le" && !strings.Contains(source, `("`+name+`", `) && !strings.Contains(source, `"`+strings.ReplaceAll(name, "_", ".")+`"`) {
				t.Errorf("%s: no metric has the attribute %s", title, name)
			}
		}
	}
	if queries < 20 {
		t.Errorf("%d queries found: have the dashboards another form now?", queries)
	}
}

// dashboardQueries returns the queries of all dashboards by their panel and reference.
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	boards, err := filepath.Glob(filepath.Join(root, "deployments/grafana/*.json"))
	if err != nil || len(boards) == 0 {
		t.Fatalf("%v: no dashboards", err)
	}
	out := map[string]string{}
	for _, path := range boards {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ RefID, Expr string }
			}
		}
		if err := json.Unmarshal(content, &board); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				out[filepath.Base(path)+": "+p.Title+" "+target.RefID] = target.Expr
			}
		}
	}
	return out
}
