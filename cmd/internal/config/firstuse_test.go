package config_test

import (
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// TestAByteOrderMarkIsNotAKey: some editors begin a file with one.
func TestAByteOrderMarkIsNotAKey(t *testing.T) {
	t.Parallel()
	if _, err := config.Parse([]byte("\ufeff# a comment\nnode: {listen: none}\n"), "test.yaml", nil); err != nil {
		t.Error(err)
	}
}

// TestAClusterThatAVariableMakes: what is missing then is missing because of a
// variable that was meant for a service, and the problem names it.
func TestAClusterThatAVariableMakes(t *testing.T) {
	t.Parallel()
	_, err := config.Parse([]byte("stores: {main: {type: natskv}}\n"), "test.yaml", []string{"ROTATOR_NATS_URL=nats://127.0.0.1:4222"})
	if err == nil || !strings.Contains(err.Error(), "master_key is missing (nats.url comes from ROTATOR_NATS_URL; unset it for a single node)") {
		t.Error(err)
	}
}

// TestWarningsOfAFirstConfiguration: one that manages nothing, and an agent whose
// reports no rollout waits for.
func TestWarningsOfAFirstConfiguration(t *testing.T) {
	t.Parallel()
	const agent = `stores: {main: {type: natskv}}
secrets: [{id: orders/db-password, services: [orders]}]
agent: {service: SERVICE, files: [{id: orders/db-password, path: /run/orders/db}]}
`
	for name, c := range map[string]struct{ text, want string }{
		"an empty file":              {"", "it has no settings: no secret is managed"},
		"only comments":              {"# nothing yet\n", "it has no settings: no secret is managed"},
		"a misspelt agent.service":   {strings.Replace(agent, "SERVICE", "ordres", 1), `agent.service is "ordres", which the secret does not list under services; did you mean "orders"?`},
		"an agent.service as listed": {strings.Replace(agent, "SERVICE", "orders", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Parse([]byte(c.text), "test.yaml", nil)
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, w := range cfg.Warnings() {
				all = append(all, w.String())
			}
			if got := strings.Join(all, "\n"); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("warnings %q, want %q", got, c.want)
			}
		})
	}
}

// TestAStoreThatNothingPlaces is at the default of its client, and validate says so.
func TestAStoreThatNothingPlaces(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, variable string
		want           bool
	}{
		"nowhere":       {"stores: {v: {type: vault}}\n", "", true},
		"a variable":    {"stores: {v: {type: vault}}\n", "VAULT_ADDR", false},
		"OpenBao's":     {"stores: {v: {type: vault}}\n", "BAO_ADDR", false},
		"an address":    {"stores: {v: {type: vault, address: 'https://vault.example:8200'}}\n", "", false},
		"another store": {"stores: {v: {type: env}}\n", "", false},
	} {
		cfg, err := config.Parse([]byte(c.text), "test.yaml", nil)
		if err != nil {
			t.Fatal(err)
		}
		got := cfg.Assumed("test.yaml", func(name string) (string, bool) {
			if name != c.variable {
				return "", false
			}
			return "https://vault.example:8200", true
		})
		if len(got) > 0 != c.want || c.want && !strings.Contains(got[0].String(), "test.yaml: stores.v: it has no address, and BAO_ADDR and VAULT_ADDR are not set here, so it is https://127.0.0.1:8200; set address") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestAWordThatIsWantedIsListed also where the value is of another type.
func TestAWordThatIsWantedIsListed(t *testing.T) {
	t.Parallel()
	_, err := config.Parse([]byte("stores: {main: {type: natskv}}\nsecrets: [{id: a, no_subscribers: true}]\n"), "test.yaml", nil)
	if err == nil || !strings.Contains(err.Error(), "secrets[0].no_subscribers: want text, got true or false; use one of hold, retire-after-grace") {
		t.Error(err)
	}
}
