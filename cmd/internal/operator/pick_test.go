package operator

import (
	"testing"

	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestPick: secrets are named or described, and every part of a description counts.
func TestPick(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]Pick{
		"nothing":       {},
		"both":          {All: true, IDs: []string{"a"}},
		"a tag alone":   {Tags: []string{"team"}},
		"both, by name": {IDs: []string{"a"}, Service: "api"},
	} {
		if k.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	s := inspect.Secret{SecretID: "DB", Store: "main", Services: []string{"api"}, Meta: secret.Metadata{Attributes: map[string]string{"team": "blue"}}}
	for name, c := range map[string]struct {
		pick Pick
		want bool
	}{
		"all":           {Pick{All: true}, true},
		"its service":   {Pick{Service: "api"}, true},
		"another":       {Pick{Service: "web"}, false},
		"another store": {Pick{Service: "api", Store: "other"}, false},
		"its tag":       {Pick{Store: "main", Tags: []string{"team=blue"}}, true},
		"another value": {Pick{Tags: []string{"team=red"}}, false},
		"two tags":      {Pick{Tags: []string{"team=blue", "tier="}}, false},
	} {
		if err := c.pick.Validate(); err != nil || c.pick.fits(s) != c.want {
			t.Errorf("%s: fits %t, %v", name, !c.want, err)
		}
	}
}
