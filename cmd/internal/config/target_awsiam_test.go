package config_test

import (
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/secret"
)

const awsTargets = `stores: {main: {type: natskv}}
targets: {aws: {type: awsiam, region: eu-west-1}}
policies: {strict: {length: 64}}
secrets:
  - {id: DEPLOY, services: [deploy], policy: strict, target: {name: aws, user: deploy}}
`

// TestATargetOfIAM: the policy of its secrets is that of IAM.
func TestATargetOfIAM(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse([]byte(awsTargets), "test.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	specs, err := cfg.Specs()
	if err != nil {
		t.Fatal(err)
	}
	key := secret.NewValue([]byte(`{"access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"wJalrXUtnFEMIxK7MDENGxbPxRfiCYEXAMPLEKEYx"}`))
	if err := specs[0].ValuePolicy().Check(key); err != nil || specs[0].Proof.TargetUnknown {
		t.Errorf("a key of IAM: %v, use unknown %t", err, specs[0].Proof.TargetUnknown)
	}
	if len(cfg.Warnings()) > 0 {
		t.Errorf("warnings %v", cfg.Warnings())
	}
}

func TestProblemsOfATargetOfIAM(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, new, want string }{
		"no user":          {", user: deploy}", "}", `user name "": IAM takes`},
		"a path":           {"user: deploy", "user: /team/deploy", "without the path"},
		"a strategy":       {"user: deploy", "user: deploy, strategy: single", "owner and strategy are for databases"},
		"sessions":         {"user: deploy", "user: deploy, drain: end-all", "a key has no sessions that could be ended"},
		"two of one user":  {"secrets:\n", "secrets:\n  - {id: OTHER, target: {name: aws, user: deploy}}\n", "secrets[0] has the same account"},
		"an unknown key":   {"region: eu-west-1", "regions: [eu-west-1]", "regions"},
		"a use lag of 0":   {"region: eu-west-1", "region: eu-west-1, use_lag: 0s", "use_lag"},
		"its own rotation": {"services: [deploy]", "services: [deploy], strategy: external", "strategy: external leaves the target"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(awsTargets, c.old, c.new, 1)
			if text == awsTargets {
				t.Fatalf("%q is not in the configuration", c.old)
			}
			if got := strings.Join(problems(t, text), "\n"); !strings.Contains(got, c.want) {
				t.Errorf("problems %q, want %q", got, c.want)
			}
		})
	}
	cfg, err := config.Parse([]byte(strings.Replace(awsTargets, "eu-west-1", "eu-west-1, use_lag: 5m", 1)), "test.yaml", nil)
	if err != nil || len(cfg.Warnings()) != 1 || !strings.Contains(cfg.Warnings()[0].String(), "how soon IAM shows a use") {
		t.Errorf("%v, warnings of a short use lag: %v", err, cfg.Warnings())
	}
}
