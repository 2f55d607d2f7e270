package awssm_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

func TestParseARN(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arn  string
		want awssm.Place
	}{
		"a secret":                {"arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-AbC12f", awssm.Place{Region: "eu-central-1", Account: "123456789012", Name: "prod/db"}},
		"a name like a suffix":    {"arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:db-secret-AbC12f", awssm.Place{Region: "cn-north-1", Account: "123456789012", Name: "db-secret"}},
		"a name":                  {"prod/db", awssm.Place{}},
		"another service":         {"arn:aws:s3:::bucket-AbC12f", awssm.Place{}},
		"another resource":        {"arn:aws:secretsmanager:eu-central-1:123456789012:policy:prod/db-AbC12f", awssm.Place{}},
		"without a suffix":        {"arn:aws:secretsmanager:eu-central-1:123456789012:secret:proddatabase", awssm.Place{}},
		"nothing but a suffix":    {"arn:aws:secretsmanager:eu-central-1:123456789012:secret:-AbC12f", awssm.Place{}},
		"without a region":        {"arn:aws:secretsmanager::123456789012:secret:prod/db-AbC12f", awssm.Place{}},
		"characters of no secret": {"arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod\tdb-AbC12f", awssm.Place{}},
	} {
		got, err := awssm.ParseARN(c.arn)
		if got != c.want || (err == nil) != (c.want != awssm.Place{}) || err != nil && !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

func TestNormalPath(t *testing.T) {
	t.Parallel()
	const arn, role = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:prod/db-AbCdEf", "arn:aws:iam::111111111111:role/rotator"
	for name, c := range map[string]struct{ path, region, role, want string }{
		"a name":                          {"/prod//db", "eu-central-1", role, "/prod//db"},
		"an ARN":                          {arn, "eu-central-1", role, "prod/db"},
		"of another region":               {arn, "us-east-1", role, arn},
		"of another account":              {arn, "eu-central-1", "arn:aws:iam::222222222222:role/rotator", arn},
		"where the region is not known":   {arn, "", role, "prod/db"},
		"where the account is not known":  {arn, "eu-central-1", "", "prod/db"},
		"an ARN of something else":        {"arn:aws:s3:::bucket-AbCdEf", "", "", "arn:aws:s3:::bucket-AbCdEf"},
		"a role of another service still": {arn, "eu-central-1", "arn:aws:iam::111111111111:role/a/b", "prod/db"},
	} {
		got := awssm.NormalPath(c.path, c.region, c.role)
		if got != c.want || awssm.NormalPath(got, c.region, c.role) != got {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestRotation holds what a rotation function is told of a secret, which is one
// call.
func TestRotation(t *testing.T) {
	t.Parallel()
	moto := serverstest.StartMoto(t)
	front := serverstest.StartProxy(t, moto.URL)
	d := newDriver(t, front.URL, root)
	made, err := client(moto.URL, root).CreateSecret(t.Context(), &sm.CreateSecretInput{Name: aws.String("rotated/by-aws"), SecretString: aws.String("First-value-1")})
	if err != nil {
		t.Fatal(err)
	}
	v1 := secret.VersionID(*made.VersionId)
	// moto registers the token, and then finds no such function.
	token := secret.NewToken("aws", v1, "", 0)
	_, err = client(moto.URL, root).RotateSecret(t.Context(), &sm.RotateSecretInput{
		SecretId: aws.String("rotated/by-aws"), ClientRequestToken: aws.String(string(token)), RotationLambdaARN: aws.String("arn:aws:lambda:us-east-1:123456789012:function:none"),
		RotationRules: &types.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err == nil {
		t.Fatal("moto runs functions now: drive the rotation through it")
	}
	front.Take()
	r, err := d.Rotation(t.Context(), "rotated/by-aws")
	if err != nil {
		t.Fatal(err)
	}
	if calls := front.Take(); len(calls) != 1 {
		t.Errorf("it takes the calls %v", calls)
	}
	pending, _ := r.At(secret.StagePending)
	if r.Function != "arn:aws:lambda:us-east-1:123456789012:function:none" {
		t.Errorf("the function is %q", r.Function)
	}
	if !r.Enabled || r.Path != "rotated/by-aws" || r.TTL != 30*24*time.Hour || r.Current().ID != v1 || pending.ID != secret.VersionID(token) || len(r.Versions) != 2 {
		t.Errorf("%+v, want it enabled, %s current and %s pending", r, v1, token)
	}
	if _, err := d.Rotation(t.Context(), "not/there"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a secret that is not there: %v", err)
	}
}

// TestAPartialARN: AWS completes it, and only AWS knows to which secret.
func TestAPartialARN(t *testing.T) {
	t.Parallel()
	moto := serverstest.StartMoto(t)
	d := newDriver(t, moto.URL, root)
	for _, name := range []string{"t/foo", "t/foo-secret"} {
		if _, err := client(moto.URL, root).CreateSecret(t.Context(), &sm.CreateSecretInput{Name: aws.String(name), SecretString: aws.String("First-value-1")}); err != nil {
			t.Fatal(err)
		}
	}
	_, whole, err := d.Resolve(t.Context(), "t/foo-secret")
	if err != nil {
		t.Fatal(err)
	}
	short := whole[:len(whole)-len("-AbCdEf")]
	if name, arn, err := d.Resolve(t.Context(), short); err != nil || name != "t/foo-secret" || arn != whole {
		t.Errorf("%s is %s, %s, %v", short, name, arn, err)
	}
	if _, err := d.Describe(t.Context(), whole); err != nil {
		t.Errorf("the whole ARN: %v", err)
	}
	if _, err := d.Describe(t.Context(), short); !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), "t/foo-secret; use the name") {
		t.Errorf("%s: %v, want the name and the whole ARN", short, err)
	}
}
