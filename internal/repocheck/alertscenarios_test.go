package repocheck_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// TestEveryAlertFiresAndClears: deployments/prometheus/rules_test.yml has a scenario for each alert in which it is quiet, fires, and is quiet again.
// integration.TestAlertsFireAndClear runs the scenarios.
func TestEveryAlertFiresAndClears(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "deployments/prometheus/rules_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Name  string `yaml:"name"`
			Tests []struct {
				At    string `yaml:"eval_time"`
				Alert string `yaml:"alertname"`
				Fires []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		} `yaml:"tests"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	complete := map[string]bool{}
	for _, scenario := range file.Tests {
		last := map[string]time.Duration{}
		seen := map[string]string{}
		for _, test := range scenario.Tests {
			at, err := time.ParseDuration(test.At)
			if err != nil || at <= last[test.Alert] {
				t.Errorf("%s: %s is not looked at in the order of time: %q, %v", scenario.Name, test.Alert, test.At, err)
			}
			last[test.Alert] = at
			if len(test.Fires) > 0 {
				seen[test.Alert] += "f"
			} else {
				seen[test.Alert] += "q"
			}
			complete[test.Alert] = complete[test.Alert] || seen[test.Alert] == "qfq"
		}
	}
	for _, r := range rules(t) {
		if !complete[r.Alert] {
			t.Errorf("no scenario of rules_test.yml has %s quiet, then firing, then quiet again", r.Alert)
		}
	}
}
