package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// eventful are queries about what a healthy node without EventBridge does not have, or
// not within a minute. They have to work, and may find nothing.
var eventful = []string{
	"max(rotator_eventbridge_waiting)",
	"max by (stream) (rotator_bus_used_percent)", // of streams with a bound
	"sum by (secret_id) (rate(secret_reload_failures_total[5m])) * 3600",
	"sum(rate(rotator_versions_retired_total[5m])) * 3600",
}

// TestDashboardsAnswer has a Prometheus scrape a node and a service, and demands that
// every query of deployments/grafana has an answer, and that every rule works.
func TestDashboardsAnswer(t *testing.T) {
	t.Parallel()
	p := startPrometheus(t, observed(t))
	for title, query := range dashboardQueries(t) {
		waittest.Until(t, "the panel "+title+" shows something", func() error {
			series, err := p.query(query)
			if err == nil && len(series) == 0 && !slices.Contains(eventful, query) {
				err = errors.New("no series")
			}
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", query, err, p.out)
			}
			return nil
		})
	}
	waittest.Until(t, "every rule has been evaluated without an error", func() error {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		err := p.api("rules", &data)
		for _, group := range data.Groups {
			for _, rule := range group.Rules {
				if rule.Health != "ok" {
					return fmt.Errorf("%s: %s %s", rule.Name, rule.Health, rule.LastError)
				}
			}
		}
		if len(data.Groups) == 0 {
			return fmt.Errorf("no rules: %w", err)
		}
		return err
	})
}

// observed runs a node that rotates the secrets of a service every few seconds and
// gives one rotation up, and that service. It returns where their metrics are.
func observed(t *testing.T) (jobs map[string]string) {
	t.Helper()
	dir, nats, health := t.TempDir(), freeAddress(t), freeAddress(t)
	data, hook, config := filepath.Join(dir, "data"), filepath.Join(dir, "refuse"), filepath.Join(dir, "rotator.yaml")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\nexit 4\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, fmt.Sprintf(`node: {data_dir: %q, listen: %q}
http: {listen: %q}
log: {format: json}
stores: {main: {type: natskv}}
targets: {refuses: {type: hook, command: [%q], overlap: any}}
defaults: {create: true, ttl: 10s, refresh_margin: 2s, grace: 1s, fence: 1s, services: [tradepulse-api]}
secrets:
  - {id: %s}
  - {id: %s}
  - {id: REFUSED, ttl: 1h, services: [], target: {name: refuses, user: orders}}
`, data, nats, health, hook, auditID, adminID))
	node := start(t, "run", "--config", config)
	waittest.Until(t, "the secrets have a value", func() error {
		if n := strings.Count(node.out.String(), `"msg":"secret.rotated"`); n < 2 {
			return fmt.Errorf("%d of 2 secrets were made:\n%s", n, node.out)
		}
		return nil
	})
	_, service := goExample(t, "ROTATOR_STORE=natskv", "ROTATOR_NATSKV_MASTER_KEY_FILE="+filepath.Join(data, "master.key"), "ROTATOR_NATS_URL=nats://"+nats,
		"ROTATOR_NATS_CREDENTIALS_NKEY_FILE="+filepath.Join(data, "operator.nk"), "ROTATOR_TRUSTED_KEYS="+filepath.Join(data, "signing.key.pub"),
		string(auditID)+"="+string(auditID), string(adminID)+"="+string(adminID))
	return map[string]string{"rotator": health, "tradepulse-api": service}
}

// dashboardQueries returns the queries of deployments/grafana as Grafana sends them, by
// the title of their panel and their letter.
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	boards, err := filepath.Glob("../deployments/grafana/*.json")
	if err != nil || len(boards) == 0 {
		t.Fatalf("%v: no dashboards", err)
	}
	queries := map[string]string{}
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
			t.Fatal(err)
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				queries[p.Title+" "+target.RefID] = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*").Replace(target.Expr)
			}
		}
	}
	return queries
}
