package config_test

import (
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

func TestTheAdminTokenIsASecretOfASingleNode(t *testing.T) {
	t.Parallel()
	const rest = "stores: {main: {type: natskv}}\nsecrets: [{id: ADMIN, ttl: 30d, services: [ops]}]\n"
	for name, c := range map[string]struct{ text, want string }{
		"a secret":         {"http: {admin_token: ADMIN}\n" + rest, ""},
		"no secret":        {"http: {admin_token: ADMINS}\n" + rest, "http.admin_token: secrets has no ADMINS; add the secret, or name one that is there"},
		"one of a cluster": {"http: {admin_token: ADMIN}\nnats: {url: 'nats://127.0.0.1:4222'}\n" + rest, "http.admin_token: acts on the status page need the rights of an operator"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse([]byte(c.text), "rotator.yaml", nil)
			if got := problemsOf(err); c.want == "" && strings.Contains(got, "admin_token") || !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func problemsOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
