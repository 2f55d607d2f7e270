package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

func TestEnvironmentOverrides(t *testing.T) {
	const text = "http: {listen: '127.0.0.1:1'}\nnats: {credentials: {user: u, password: {file: pw}}}\n"
	for name, tt := range map[string]struct {
		env  string
		got  func(*config.Config) any
		want any
	}{
		"text in place of the file's":   {"ROTATOR_HTTP_LISTEN=none", func(c *config.Config) any { return c.HTTP.Listen }, "none"},
		"text that the file has not":    {"ROTATOR_NATS_PREFIX=dev", func(c *config.Config) any { return c.NATS.Prefix }, "dev"},
		"text that looks like a number": {"ROTATOR_NATS_PREFIX=17", func(c *config.Config) any { return c.NATS.Prefix }, "17"},
		"a number":                      {"ROTATOR_WORKER_CONCURRENCY=7", func(c *config.Config) any { return c.Worker.Concurrency }, 7},
		"a duration":                    {"ROTATOR_SCHEDULER_SWEEP_EVERY=1d", func(c *config.Config) any { return time.Duration(c.Scheduler.SweepEvery) }, 24 * time.Hour},
		"a truth":                       {"ROTATOR_DEFAULTS_CREATE=true", func(c *config.Config) any { return *c.Defaults.Create }, true},
		"a word that may be none":       {"ROTATOR_DEFAULTS_GRACE=none", func(c *config.Config) any { return c.Defaults.Grace }, config.None},
		"the name of a file":            {"ROTATOR_SIGNING_KEY_FILE=/k", func(c *config.Config) any { return c.Signing.Key }, config.Ref{File: "/k"}},
		"nothing, which is not set":     {"ROTATOR_HTTP_LISTEN=", func(c *config.Config) any { return c.HTTP.Listen }, "127.0.0.1:1"},
		"a value with an =":             {"ROTATOR_NODE_DATA_DIR=/a=b", func(c *config.Config) any { return c.Node.DataDir }, "/a=b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.got(parse(t, text, tt.env)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEnvironmentPolicyIsAName(t *testing.T) {
	c := parse(t, "policies: {hex: {encoding: hex}}", "ROTATOR_DEFAULTS_POLICY=hex")
	if c.Defaults.Policy == nil || c.Defaults.Policy.Name != "hex" {
		t.Errorf("got %+v", c.Defaults.Policy)
	}
}

func TestEnvironmentProblems(t *testing.T) {
	const password = "nats: {credentials: {user: u, password: {file: pw}}}"
	for name, tt := range map[string]struct{ text, env, want string }{
		"a variable with a new name":         {"", "ROTATOR_WORKER_MANAGED_DEADLINE=1h", "ROTATOR_WORKER_MANAGED_DEADLINE: no setting has this variable; it is called ROTATOR_WORKER_EXTERNAL_DEADLINE now"},
		"a misspelt variable":                {"", "ROTATOR_NATS_URI=x", "ROTATOR_NATS_URI: no setting has this variable; did you mean ROTATOR_NATS_URL?"},
		"a variable of nothing here":         {"", "ROTATOR_QUARTERLY_REPORT=x", "ROTATOR_QUARTERLY_REPORT: no setting has this variable; unset it; the reference lists all variables"},
		"a number that is none":              {"", "ROTATOR_NATS_REPLICAS=three", "ROTATOR_NATS_REPLICAS: nats.replicas: want a whole number, got text"},
		"a truth that is none":               {"", "ROTATOR_DEFAULTS_CREATE=perhaps", "ROTATOR_DEFAULTS_CREATE: defaults.create: want true or false, got text"},
		"a second place of a secret":         {password, "ROTATOR_NATS_CREDENTIALS_PASSWORD_ENV=PW", "test.yaml:1:41: nats.credentials.password: name one place where it is kept; write {file: NAME} or {env: NAME}"},
		"a setting below what is no section": {"nats: yes please", "ROTATOR_NATS_URL=nats://a", "test.yaml:1:7: nats: want a section with keys, got text"},
		"a contradiction":                    {"", "ROTATOR_WORKER_RETRY_BASE=1h", "ROTATOR_WORKER_RETRY_BASE: worker.retry_base: it is longer than retry_cap (15m); lower it, or raise retry_cap"},
	} {
		t.Run(name, func(t *testing.T) { wantProblems(t, problems(t, tt.text, tt.env), tt.want) })
	}
}

func TestVariablesThatAreNoSettings(t *testing.T) {
	parse(t, `
nats: {credentials: {user: u, password: {env: ROTATOR_NATS_PASSWORD}}}
stores:
  main: {type: natskv, master_key: {env: ROTATOR_MASTER_KEY}}
  dev: {type: env}
secrets:
  - {id: ROTATOR_DEMO_ID, path: ROTATOR_DEMO, store: dev, disabled: true}
`,
		"ROTATOR_CONFIG=x", "PATH=x", "ROTATOR_NATS_PASSWORD=x", "ROTATOR_MASTER_KEY=x", // named above
		"ROTATOR_DEMO=x", "ROTATOR_DEMO_ID_TTL_SECONDS=60",
		// What Kubernetes sets for services called rotator and rotator-metrics.
		"ROTATOR_SERVICE_HOST=10.0.0.1", "ROTATOR_SERVICE_PORT=8080", "ROTATOR_SERVICE_PORT_HTTP=8080", "ROTATOR_PORT=tcp://10.0.0.1:8080",
		"ROTATOR_PORT_8080_TCP=tcp://10.0.0.1:8080", "ROTATOR_PORT_8080_TCP_PROTO=tcp", "ROTATOR_PORT_8080_TCP_PORT=8080", "ROTATOR_PORT_8080_TCP_ADDR=10.0.0.1",
		"ROTATOR_METRICS_SERVICE_HOST=10.0.0.2", "ROTATOR_METRICS_PORT=tcp://10.0.0.2:80",
	)
}

// TestVariablesOfServices: a command may share its environment with a service.
func TestVariablesOfServices(t *testing.T) {
	c := parse(t, "stores: {main: {type: natskv}}\n", "ROTATOR_STORE=vault", "ROTATOR_CLIENT_CONFIG=client.yaml", "ROTATOR_NATS_PREFIX=prod")
	if got := c.Warnings(); len(got) != 2 || !strings.Contains(got[1].String(), "ROTATOR_STORE: this is a setting of services") {
		t.Errorf("warnings %v", got)
	}
	if c.NATS.Prefix != "prod" {
		t.Error("a setting that both have is not taken")
	}
}

func TestOverridesAreDistinctAndNotThoseOfKubernetes(t *testing.T) {
	seen := map[string]string{}
	for _, o := range config.Overrides() {
		if first, ok := seen[o.Env]; ok {
			t.Errorf("%s is both %s and %s", o.Env, first, o.Path)
		}
		seen[o.Env] = o.Path
		for _, end := range []string{"_SERVICE_HOST", "_SERVICE_PORT", "_PORT"} {
			if strings.HasSuffix(o.Env, end) {
				t.Errorf("%s could be a variable of Kubernetes", o.Env)
			}
		}
	}
	if seen["ROTATOR_NATS_URL"] != "nats.url" || len(seen) < 35 {
		t.Errorf("got %v", seen)
	}
}
