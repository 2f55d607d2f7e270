package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// policyCheck runs rotator policy check with nothing but vars of TRADEPULSE_*
// in its environment.
func policyCheck(t *testing.T, vars []string, args ...string) (string, int) {
	t.Helper()
	p := &program{cmd: exec.Command(binary(t, "rotator"), append([]string{"policy", "check"}, args...)...), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "TRADEPULSE_") || strings.HasPrefix(kv, "ROTATOR_")
	}), vars...)
	p.run(t)
	code := p.wait(t)
	return p.out.String(), code
}

// TestPolicyCheckOfAnEnvironment checks what a developer exports.
func TestPolicyCheckOfAnEnvironment(t *testing.T) {
	t.Parallel()
	const audit, admin = "TRADEPULSE_AUDIT_SECRET=Audit-Key-For-Tests-1", "TRADEPULSE_ADMIN_TOKEN=Admin-Token-For-Tests-1"
	for name, c := range map[string]struct {
		vars, args []string
		code       int
		says       []string
	}{
		"both are fit":           {[]string{audit, admin}, nil, 0, []string{"2 secrets are fit for use"}},
		"nothing is set":         {nil, nil, 1, []string{"TRADEPULSE_AUDIT_SECRET_ID: missing: ", "TRADEPULSE_ADMIN_TOKEN_ID: missing: ", "2 of 2 secrets"}},
		"one is set":             {[]string{audit}, nil, 1, []string{"1 of 2 secrets", "ADMIN_TOKEN_ID: missing: ", "neither TRADEPULSE_ADMIN_TOKEN nor TRADEPULSE_ADMIN_TOKEN_ID is set; set TRADEPULSE_ADMIN_TOKEN\n"}},
		"an id names a variable": {[]string{"TRADEPULSE_AUDIT_SECRET_ID=MY_KEY", "MY_KEY=Audit-Key-For-Tests-1", admin}, nil, 0, []string{"2 secrets are fit for use"}},
		"an id is a path":        {[]string{"TRADEPULSE_AUDIT_SECRET_ID=prod/canary/Audit-Key-1", admin}, nil, 1, []string{"1 of 2 secrets", "AUDIT_SECRET_ID: missing: ", "TRADEPULSE_AUDIT_SECRET_ID is set and names no variable that has a value, and TRADEPULSE_AUDIT_SECRET is not set; set TRADEPULSE_AUDIT_SECRET, or give the configuration of its store with --config\n"}},
		"all of it is bad":       {[]string{"TRADEPULSE_AUDIT_SECRET=canaryx", "TRADEPULSE_AUDIT_SECRET_ID_TTL_SECONDS=0", admin, "TRADEPULSE_ADMIN_TOKEN_ID_TTL_SECONDS=1800"}, nil, 1, []string{"AUDIT_SECRET_ID: min_length: ", "AUDIT_SECRET_ID: symbol: ", "AUDIT_SECRET_ID: ttl_invalid: ", "ADMIN_TOKEN_ID: ttl: "}},
		"a lower floor":          {[]string{audit, admin, "TRADEPULSE_ADMIN_TOKEN_ID_TTL_SECONDS=1800"}, []string{"--min-ttl", "TRADEPULSE_ADMIN_TOKEN_ID=10m"}, 0, nil},
		"a higher floor":         {[]string{audit, admin, "TRADEPULSE_ADMIN_TOKEN_ID_TTL_SECONDS=7200"}, []string{"--min-ttl", "TRADEPULSE_ADMIN_TOKEN_ID=1d"}, 1, []string{"ADMIN_TOKEN_ID: ttl: "}},
		"other ids":              {[]string{"DB_PASSWORD=Db-Password-Of-Tests-1"}, []string{"DB_PASSWORD"}, 0, nil},
		"a floor of no secret":   {[]string{audit, admin}, []string{"--min-ttl", "OTHER=1h"}, 2, []string{"OTHER is not among"}},
		"no duration":            {nil, []string{"--min-ttl", "OTHER=soon"}, 2, []string{"--min-ttl"}},
		"no file":                {nil, []string{"--config", "/nowhere.yaml"}, 2, []string{"/nowhere.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, code := policyCheck(t, c.vars, c.args...)
			if code != c.code || strings.Contains(out, "canary") {
				t.Errorf("exit %d, want %d; it must show no value:\n%s", code, c.code, out)
			}
			for _, want := range c.says {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

// TestPolicyCheckOfAConfiguration checks stores with and without a bus.
func TestPolicyCheckOfAConfiguration(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: api/key, store: main, ttl: 1h, min_ttl: 10m, refresh_margin: 20m, create: true}\n")
	if out, code := policyCheck(t, nil, "--config", cfg); code != 1 || !strings.Contains(out, "rotator run") {
		t.Errorf("without a node: exit %d: %s", code, out)
	}
	start(t, "run", "--config", cfg)
	ready(t, health)
	waittest.Until(t, "the secrets keep their policy", func() error {
		if out, code := policyCheck(t, nil, "--config", cfg); code != 0 {
			return fmt.Errorf("exit %d: %s", code, out)
		}
		return nil
	})
	out, code := policyCheck(t, nil, "--config", cfg, "--json", "--min-ttl", "api/key=2h", "api/key", "api/none")
	var got struct {
		Secrets    int
		Violations []struct{ ID, Code, Remedy string }
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if code != 1 || got.Secrets != 2 || len(got.Violations) != 2 || got.Violations[0].Code != "ttl" || got.Violations[1].Code != "missing" || got.Violations[1].ID != "api/none" {
		t.Errorf("exit %d, %+v", code, got)
	}

	alone := filepath.Join(t.TempDir(), "env.yaml")
	text := "stores: {dev: {type: env}}\nsecrets:\n  - {id: api/key, path: API_KEY, disabled: true, policy: {classes: [], min_length: 4}}\n"
	if err := os.WriteFile(alone, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := policyCheck(t, []string{"API_KEY=four"}, "--config", alone); code != 0 {
		t.Errorf("without a bus: exit %d: %s", code, out)
	}
	if out, code := policyCheck(t, []string{"API_KEY=abc"}, "--config", alone); code != 1 || !strings.Contains(out, "at least 4") {
		t.Errorf("by a policy of its own: exit %d: %s", code, out)
	}
}
