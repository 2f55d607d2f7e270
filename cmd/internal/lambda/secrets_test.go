package lambda

import (
	"errors"
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestFind holds which secret and which store an ARN, a name and an id mean.
func TestFind(t *testing.T) {
	t.Parallel()
	const here, there = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:", "arn:aws:secretsmanager:us-east-1:222222222222:secret:"
	const two = `
stores:
  here: {type: aws}
  there: {type: aws, region: us-east-1, assume_role: "arn:aws:iam::222222222222:role/rotator"}
  kv: {type: natskv}
policies: {hex: {encoding: hex, bytes: 32}}
defaults: {store: here, policy: hex}
secrets:
  - {id: ONE, path: prod/one}
  - {id: TWO, path: prod/one, store: there}
  - {id: THREE, path: "` + here + `prod/three-AbCdEf"}
  - {id: KV, store: kv}
`
	for name, c := range map[string]struct{ config, name, id, store, path string }{
		"a listed secret by its ARN":                   {two, here + "prod/one-AbCdEf", "ONE", "here", here + "prod/one-AbCdEf"},
		"the same name in another region and account":  {two, there + "prod/one-AbCdEf", "TWO", "there", there + "prod/one-AbCdEf"},
		"a secret that is listed by its ARN":           {two, here + "prod/three-AbCdEf", "THREE", "here", here + "prod/three-AbCdEf"},
		"a listed secret by its id":                    {two, "TWO", "TWO", "there", "prod/one"},
		"a listed secret by its name":                  {two, "prod/one", "ONE", "here", "prod/one"},
		"one that is not listed":                       {two, here + "prod/more-AbCdEf", "prod/more", "here", here + "prod/more-AbCdEf"},
		"one that is not listed, in the other account": {two, there + "prod/more-AbCdEf", "prod/more", "there", there + "prod/more-AbCdEf"},
		"an account and region that no store is in":    {two, "arn:aws:secretsmanager:eu-west-1:111111111111:secret:x-AbCdEf", "", "", ""},
		"an id of a store that is not Secrets Manager": {two, "KV", "", "", ""},
		"no configuration at all":                      {"", here + "prod/one-AbCdEf", "prod/one", "aws", here + "prod/one-AbCdEf"},
		"no configuration, another region":             {"", there + "prod/one-AbCdEf", "", "", ""},
		"two stores that fit, and no default":          {"stores: {a: {type: aws}, b: {type: aws}}", here + "x-AbCdEf", "", "", ""},
		"an ARN of something else":                     {"", "arn:aws:s3:::bucket-AbCdEf", "", "", ""},
	} {
		cfg, err := config.Parse([]byte(c.config), "test.yaml", nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSecrets(cfg, "eu-central-1", nil)
		if err != nil {
			t.Fatal(err)
		}
		spec, _, err := s.find(c.name)
		if (err == nil) != (c.id != "") || string(spec.ID) != c.id || spec.Store != c.store || spec.Path != c.path {
			t.Errorf("%s: %s in %s at %s, %v; want %s in %s at %s", name, spec.ID, spec.Store, spec.Path, err, c.id, c.store, c.path)
		}
		if err != nil && !errors.Is(err, catalog.ErrUnknownSecret) && !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if c.config == two && err == nil && spec.Policy == nil {
			t.Errorf("%s: it does not have the policy of the defaults", name)
		}
	}
}

// TestTagged: a secret that the configuration discovers says in its tags what is
// wanted of it, and has the id that the rest of a deployment knows it by.
func TestTagged(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse([]byte(`
stores: {aws: {type: aws, discover: {match: {team: payments}, id_prefix: pay/}}}
policies: {hex: {encoding: hex, bytes: 32}}
secrets: [{id: LISTED, path: listed, ttl: 1h}]
`), "test.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSecrets(cfg, "eu-central-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:"
	payments := map[string]string{"team": "payments", "rotator:policy": "hex"}
	for name, c := range map[string]struct {
		secret   string
		tags     map[string]string
		id       secret.ID
		encoding secret.Encoding
		fails    bool
	}{
		"discovered":                               {"db", payments, "pay/db", secret.EncodingHex, false},
		"discovered, with a tag that is wrong":     {"db", map[string]string{"team": "payments", "rotator:policy": "none"}, "", "", true},
		"discovered, and triggered by a scheduler": {"db", map[string]string{"team": "payments", "rotator:policy": "hex", "rotator:strategy": "external"}, "pay/db", secret.EncodingHex, false},
		"another principal's":                      {"db", map[string]string{"rotator:policy": "hex"}, "db", "", false},
		"listed":                                   {"listed", payments, "LISTED", "", false},
	} {
		spec, listed, err := s.find(arn + c.secret + "-AbCdEf")
		if err != nil {
			t.Fatal(err)
		}
		to := target{spec: spec, listed: listed, catalog: s.catalog}
		got, err := to.tagged(secret.Metadata{Path: c.secret, Attributes: c.tags, TTL: 30 * 24 * time.Hour})
		if c.fails {
			if !errors.Is(err, catalog.ErrInvalidTags) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || got.ID != c.id || got.Path != arn+c.secret+"-AbCdEf" || got.ValuePolicy().Encoding != c.encoding || got.Create {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
