package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
)

// rotateAll starts a node that does everything and rotates the secrets one by
// one.
func (c *cluster) rotateAll(ids ...string) {
	c.t.Helper()
	node := c.start(true, "rotator", "run")
	for _, id := range ids {
		waittest.Until(c.t, "the secret is found", func() error { return c.found(id) })
		if out, code := c.rotator("rotate", id); code != 0 || !strings.Contains(out, " → ") {
			c.t.Fatalf("rotate %s: exit %d: %s\n%s", id, code, out, node.out)
		}
	}
	if code := node.drain(c.t); code != 0 {
		c.t.Errorf("the node ends with %d:\n%s", code, node.out)
	}
}

// TestSeveralAccounts has one configuration with the account of the program and
// another account that it enters by a role, in another region. In all of them
// there are secrets of the same path.
func TestSeveralAccounts(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::111122223333:role/rotator"
	o := newAWS(t, serverstest.StartMoto(t).URL)
	open := func(region string, creds aws.CredentialsProvider) awsOutside {
		return awsOutside{o.url, sm.New(sm.Options{Region: region, BaseEndpoint: &o.url, Credentials: creds})}
	}
	base := credentials.NewStaticCredentialsProvider("other", "other", "")
	assumed := stscreds.NewAssumeRoleProvider(sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &o.url, Credentials: base}), role)
	own, sameAccount, partner := open("eu-central-1", base), open("us-east-1", base), open("us-east-1", assumed)
	for _, a := range []awsOutside{own, sameAccount, partner} {
		a.create(t, "shared/db", "first", map[string]string{"rotator:managed": "true"})
	}
	c := newCluster(t, `
stores:
  own: {type: aws, region: eu-central-1}
  partner: {type: aws, region: us-east-1, assume_role: "`+role+`", discover: {id_prefix: partner/}}
defaults: {ttl: 30d}
secrets: [{id: OWN_DB, store: own, path: shared/db}]
`, o.env())
	c.rotateAll("OWN_DB", "partner/shared/db")
	if own.read(t, "shared/db") == "first" || partner.read(t, "shared/db") == "first" {
		t.Error("a secret was not rotated where it is")
	}
	if own.read(t, "shared/db") == partner.read(t, "shared/db") {
		t.Error("two accounts have the same value")
	}
	if sameAccount.read(t, "shared/db") != "first" {
		t.Error("the secret of a region that no store names was rotated")
	}
}

// password matches the field that is rotated.
var password = regexp.MustCompile(`"password" *: *"[^"]*"`)

// TestFieldOfADocumentAtAWS: the policy is about one field; every other byte of
// the document stays.
func TestFieldOfADocumentAtAWS(t *testing.T) {
	t.Parallel()
	o := newAWS(t, serverstest.StartMoto(t).URL)
	const document = "{ \"user\":\"svc\",\n\t\"password\" : \"old\", \"port\": 5432.0, \"big\":12345678901234567890, \"note\": \"<ä> \\u00e4\", \"password2\":\"stays\"}\n"
	o.create(t, "orders/db", document, map[string]string{"rotator:managed": "true", "rotator:id": "DB", "rotator:policy": "db"})
	c := newCluster(t, "stores: {main: {type: aws, discover: {}}}\npolicies: {db: {field: /password, exclude: '\"\\'}}\ndefaults: {ttl: 30d}\n", o.env())
	c.rotateAll("DB")
	got := o.read(t, "orders/db")
	if want := password.ReplaceAllString(document, "X"); password.ReplaceAllString(got, "X") != want || password.FindString(got) == password.FindString(document) {
		t.Error("more than the field has changed, or the field has not")
	}
}

// TestFieldOfADocumentAtVault: a secret with several fields is a document of
// these.
func TestFieldOfADocumentAtVault(t *testing.T) {
	t.Parallel()
	b := baoOutside{serverstest.StartBao(t)}
	b.tag(t, "orders/db", map[string]string{"rotator:managed": "true", "rotator:id": "DB", "rotator:policy": "db"})
	b.Do(t, http.MethodPost, "secret/data/orders/db", map[string]any{"data": map[string]any{
		"user": "svc", "password": "old", "port": 5432, "ratio": json.Number("1.50"), "tls": true, "hosts": []any{"a", "<ä>"},
	}}, nil)
	before := b.document(t, "orders/db") // the server reads numbers in its own way
	c := newCluster(t, "stores: {main: {type: vault, discover: {}}}\npolicies: {db: {field: /password}}\ndefaults: {ttl: 30d}\n", b.env())
	c.rotateAll("DB")
	after := b.document(t, "orders/db")
	if after["password"] == "old" || after["password"] == nil {
		t.Error("the field has not changed")
	}
	after["password"] = "old"
	was, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	is, err := json.Marshal(after)
	if err != nil || !bytes.Equal(is, was) {
		t.Errorf("more than the field has changed; err %v", err)
	}
}

// document returns the current version with its numbers as they are written.
func (b baoOutside) document(t *testing.T, path string) map[string]any {
	t.Helper()
	var out struct {
		Data struct{ Data json.RawMessage }
	}
	b.Do(t, http.MethodGet, "secret/data/"+path, nil, &out)
	d := json.NewDecoder(bytes.NewReader(out.Data.Data))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestBinarySecrets: at AWS the value stays where its readers look for it; at
// Vault the old value is kept as it was.
func TestBinarySecrets(t *testing.T) {
	t.Parallel()
	binary := []byte{0xff, 0, 0xfe, 1}
	tags := map[string]string{"rotator:managed": "true", "rotator:id": "KEY", "rotator:policy": "hex"}
	const config = "discover: {}}}\npolicies: {hex: {encoding: hex, whole: true}}\ndefaults: {ttl: 30d}\n"
	t.Run("aws", func(t *testing.T) {
		t.Parallel()
		o := newAWS(t, serverstest.StartMoto(t).URL)
		path := "signing/key"
		in := &sm.CreateSecretInput{Name: &path, SecretBinary: binary, Tags: append(awsTags(tags), awsTags(map[string]string{"rotator:kind": "binary"})...)}
		if _, err := o.CreateSecret(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		newCluster(t, "stores: {main: {type: aws, "+config, o.env()).rotateAll("KEY")
		out, err := o.GetSecretValue(t.Context(), &sm.GetSecretValueInput{SecretId: &path, VersionStage: aws.String("AWSCURRENT")})
		if err != nil || out.SecretString != nil || len(out.SecretBinary) != 64 {
			t.Errorf("%d bytes in SecretBinary, something in SecretString: %t, err %v", len(out.SecretBinary), out.SecretString != nil, err)
		}
	})
	t.Run("vault", func(t *testing.T) {
		t.Parallel()
		b := baoOutside{serverstest.StartBao(t)}
		encoded := base64.StdEncoding.EncodeToString(binary)
		b.tag(t, "signing/key", tags)
		b.Do(t, http.MethodPost, "secret/data/signing/key", map[string]any{"data": map[string]string{"value_base64": encoded}}, nil)
		newCluster(t, "stores: {main: {type: vault, "+config, b.env()).rotateAll("KEY")
		if got := b.read(t, "signing/key"); len(got) != 64 {
			t.Errorf("%d characters, want 64", len(got))
		}
		var old struct {
			Data struct{ Data map[string]string }
		}
		b.Do(t, http.MethodGet, "secret/data/signing/key?version=1", nil, &old)
		if old.Data.Data["value_base64"] != encoded {
			t.Error("the old value is another")
		}
	})
}
