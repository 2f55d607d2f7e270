package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestDiscoveries(t *testing.T) {
	c := parse(t, `
stores:
  aws: {type: aws, discover: {}}
  bao: {type: vault, discover: {match: {team: payments}, prefix: apps/, id_prefix: bao/}}
  quiet: {type: aws}
policies: {pin: {min_length: 8, length: 8, classes: [digit]}}
defaults: {ttl: 30d, services: [all], policy: pin}
secrets: [{id: a, store: quiet}]
`)
	got, err := c.Discoveries()
	if err != nil || len(got) != 2 {
		t.Fatalf("%d discoveries, err %v", len(got), err)
	}
	m := secret.Metadata{Path: "apps/x", Attributes: map[string]string{"team": "payments", "rotator:policy": "pin"}}
	if !got[1].Matches(m.Path, m.Attributes) || got[1].Matches("other/x", m.Attributes) || got[0].Matches(m.Path, m.Attributes) {
		t.Error("another secret is discovered than the configuration says")
	}
	spec, problems := got[1].Spec(m)
	if len(problems) > 0 || spec.ID != "bao/apps/x" || spec.TTL != 30*24*time.Hour || spec.Services[0] != "all" || spec.ValuePolicy().MinLength != 8 {
		t.Errorf("it is %+v, problems %v", spec, problems)
	}
	if !got[0].Matches("x", map[string]string{"rotator:managed": "true"}) {
		t.Error("the tag rotator:managed is not enough")
	}
	if text := roundTrip(t, c); !strings.Contains(text, "rotator:managed:") {
		t.Errorf("what is looked for is not shown:\n%s", text)
	}
}

// TestOneSecretInTwoForms: a path names one secret in whichever form it is written.
func TestOneSecretInTwoForms(t *testing.T) {
	const arn = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:team/db-AbCdEf"
	for text, want := range map[string]string{
		"{v: {type: vault}}|/team/db|team/db":                               "secrets[0] is the same secret of the store v",
		"{v: {type: vault}}|team//db/|team/db":                              "secrets[0] is the same secret of the store v",
		"{v: {type: vault}}|/|team/db":                                      "it names no secret",
		"{v: {type: aws, region: eu-central-1}}|" + arn + "|team/db":        "secrets[0] is the same secret of the store v",
		"{v: {type: aws, region: us-east-1}}|" + arn + "|team/db":           "",
		"{v: {type: aws, region: eu-central-1}}|/team/db|team/db":           "",
		"{v: {type: natskv}}|/team/db|team/db":                              "",
		"{v: {type: vault}, w: {type: vault, mount: w}}|/team/db|team/db/x": "",
	} {
		part := strings.Split(text, "|")
		_, err := config.Parse([]byte("stores: "+part[0]+"\nsecrets: [{id: A, store: v, path: \""+part[1]+"\"}, {id: B, store: v, path: \""+part[2]+"\"}]"), "c.yaml", nil)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestDiscoveryIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		`{match: {"rotator:ttl": ""}}`:                      "this tag says what is wanted of a secret",
		`{match: {"` + strings.Repeat("k", 129) + `": ""}}`: "the name of a tag has 1 to 128 characters",
		`{match: {k: "` + strings.Repeat("v", 257) + `"}}`:  "the value of a tag has at most 256 characters",
		`{match: {k: "a\tb"}}`:                              "a tag has no control characters",
		`{prefix: "a\tb"}`:                                  "invalid secret id",
		`{matches: {}}`:                                     "unknown key",
		`{match: {k: 1}}`:                                   "want text",
	} {
		_, err := config.Parse([]byte("stores: {s: {type: aws, discover: "+text+"}}"), "c.yaml", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

// TestOnePlaceUnderTwoStores: two stores that are one server have the same secrets, and
// no secret is rotated by two entries.
func TestOnePlaceUnderTwoStores(t *testing.T) {
	const two = "secrets[0] is the same secret of the store a"
	for text, want := range map[string]string{
		"{a: {type: vault}, b: {type: vault}}|team/db|team/db":                                                               two,
		"{a: {type: vault, address: 'http://127.0.0.1:8200'}, b: {type: vault}}|team/db|team/db":                             two,
		"{a: {type: vault, address: 'http://LOCALHOST:8200/'}, b: {type: vault}}|team/db|/team/db":                           two,
		"{a: {type: vault, prefix: team}, b: {type: vault, prefix: /team/x/}}|x/db|db":                                       two,
		"{a: {type: vault, prefix: team}, b: {type: vault}}|db|team/db":                                                      two,
		"{a: {type: vault, prefix: team}, b: {type: vault}}|db|db":                                                           "",
		"{a: {type: vault, mount: one}, b: {type: vault, mount: two}}|db|db":                                                 "",
		"{a: {type: vault, namespace: one}, b: {type: vault, namespace: two}}|db|db":                                         "",
		"{a: {type: vault, address: 'http://other:8200'}, b: {type: vault}}|db|db":                                           "",
		"{a: {type: aws, region: eu-west-1}, b: {type: aws, region: eu-west-1}}|db|db":                                       two,
		"{a: {type: aws, region: eu-west-1}, b: {type: aws}}|db|db":                                                          two,
		"{a: {type: aws, region: eu-west-1}, b: {type: aws, region: us-east-1}}|db|db":                                       "",
		"{a: {type: aws, region: eu-west-1}, b: {type: aws, region: eu-west-1, assume_role: 'arn:aws:iam::1:role/x'}}|db|db": "",
		"{a: {type: natskv}, b: {type: natskv, bucket: other}}|db|db":                                                        "",
		"{a: {type: vault}, b: {type: vault, discover: {prefix: team/}}}|db|other":                                           "",
		"{a: {type: vault, discover: {prefix: x/}}, b: {type: vault, prefix: x, discover: {prefix: y}}}|z|other":             "stores.b.discover: the store a discovers the same secrets",
		"{a: {type: vault, discover: {prefix: x/}}, b: {type: vault, discover: {prefix: y/}}}|db|other":                      "",
	} {
		p := strings.Split(text, "|")
		_, err := config.Parse([]byte("stores: "+p[0]+"\nsecrets: [{id: one, store: a, path: \""+p[1]+"\"}, {id: two, store: b, path: \""+p[2]+"\"}]"), "c.yaml",
			[]string{"VAULT_ADDR=http://127.0.0.1:8200", "AWS_REGION=eu-west-1"})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
