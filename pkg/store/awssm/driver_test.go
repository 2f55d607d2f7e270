package awssm_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

var root = serverstest.Key{ID: "root", Secret: "root"}

// fast leaves the quotas to the tests that are about them.
var fast = awssm.Config{WritesPerSecond: -1, ReadsPerSecond: -1, ListsPerSecond: -1, Attempts: -1}

func client(endpoint string, k serverstest.Key) *sm.Client {
	return sm.New(sm.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, ""),
	})
}

func newDriver(t *testing.T, endpoint string, k serverstest.Key) *awssm.Driver {
	t.Helper()
	d, err := awssm.New(client(endpoint, k), fast)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// motoDiffers: what moto does not do as AWS documents it.
//
// AWS compares a second PutSecretValue of one ClientRequestToken with the first,
// ignores it when it is the same and refuses it with ResourceExistsException
// otherwise. moto overwrites the version. TestTokenOfAnotherValue has what the
// driver makes of the refusal.
var motoDiffers = map[string]string{
	"put is idempotent by token":     "moto makes the version pending again",
	"a token cannot name two values": "moto overwrites the value",
	"no error holds a value":         "moto does not refuse the value; TestTokenOfAnotherValue does",
}

func TestConformance(t *testing.T) {
	t.Parallel()
	moto := serverstest.StartMoto(t)
	front := serverstest.StartProxy(t, moto.URL)
	conformance(t, moto.URL, storetest.Harness{
		Differs: motoDiffers, ListOf: 201, // three pages
		Stick: func(t *testing.T, path string, token secret.Token) { t.Helper(); stick(t, moto.URL, path, token) },
		Throttle: func(t *testing.T) store.Driver {
			t.Helper()
			front.Inject(1, nil, serverstest.Throttled)
			return newDriver(t, front.URL, root)
		},
	}, func(endpoint string) awssm.API { return client(endpoint, root) })
}

// ministack is a client of that emulator which makes up for what would end every
// case early.
type ministack struct{ *sm.Client }

// CreateSecret without a value makes a current version there that has none; AWS
// makes no version.
func (m ministack) CreateSecret(ctx context.Context, in *sm.CreateSecretInput, opts ...func(*sm.Options)) (*sm.CreateSecretOutput, error) {
	out, err := m.Client.CreateSecret(ctx, in, opts...)
	if err != nil {
		return nil, err
	}
	return out, m.unlabel(ctx, in.Name, "AWSCURRENT", *out.VersionId)
}

// PutSecretValue leaves a label on the version that had it; AWS takes it away.
func (m ministack) PutSecretValue(ctx context.Context, in *sm.PutSecretValueInput, opts ...func(*sm.Options)) (*sm.PutSecretValueOutput, error) {
	had, err := m.DescribeSecret(ctx, &sm.DescribeSecretInput{SecretId: in.SecretId})
	if err != nil {
		return nil, err
	}
	out, err := m.Client.PutSecretValue(ctx, in, opts...)
	if err != nil {
		return nil, err
	}
	for v, labels := range had.VersionIdsToStages {
		if v != *out.VersionId && slices.Contains(labels, "AWSPENDING") {
			err = errors.Join(err, m.unlabel(ctx, in.SecretId, "AWSPENDING", v))
		}
	}
	return out, err
}

func (m ministack) unlabel(ctx context.Context, path *string, label, version string) error {
	_, err := m.UpdateSecretVersionStage(ctx, &sm.UpdateSecretVersionStageInput{SecretId: path, VersionStage: &label, RemoveFromVersionId: &version})
	return err
}

// ministackDiffers is what is left, and is as with moto.
var ministackDiffers = map[string]string{
	"put is idempotent by token":     "ministack makes the version pending again",
	"a token cannot name two values": "ministack overwrites the value",
	"no error holds a value":         "ministack does not refuse the value",
}

func TestConformanceOnMinistack(t *testing.T) {
	t.Parallel()
	h := storetest.Harness{Differs: ministackDiffers, ListOf: 101} // two pages
	conformance(t, serverstest.StartMinistack(t), h, func(endpoint string) awssm.API {
		return ministack{client(endpoint, root)}
	})
}

// conformance holds the driver to the suite on the emulator at endpoint, with
// what h says of that.
func conformance(t *testing.T, endpoint string, h storetest.Harness, api func(endpoint string) awssm.API) {
	t.Helper()
	open := func(t *testing.T, endpoint string) store.Driver {
		t.Helper()
		d, err := awssm.New(api(endpoint), fast)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	front := serverstest.StartProxy(t, endpoint)
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		t.Helper()
		h := h
		h.Driver = open(t, endpoint)
		h.Tag = func(t *testing.T, path string, attrs map[string]string) { t.Helper(); tag(t, endpoint, path, attrs) }
		h.Schedule = func(t *testing.T, path string) { t.Helper(); endPending(t, client(endpoint, root), path) }
		h.EventName = func(t *testing.T, path string) string {
			t.Helper()
			out, err := client(endpoint, root).DescribeSecret(t.Context(), &sm.DescribeSecretInput{SecretId: &path})
			if err != nil {
				t.Fatal(err)
			}
			return aws.ToString(out.ARN)
		}
		h.Quoting = func(t *testing.T, answer func([]byte) (int, []byte)) store.Driver {
			t.Helper()
			front := serverstest.StartProxy(t, endpoint)
			front.Inject(-1, nil, serverstest.Quoting(answer))
			return open(t, front.URL)
		}
		h.Another = func(t *testing.T) store.Driver { t.Helper(); return open(t, endpoint) }
		h.Delete = func(ctx context.Context, path string) error {
			_, err := client(endpoint, root).DeleteSecret(ctx, &sm.DeleteSecretInput{SecretId: &path, ForceDeleteWithoutRecovery: aws.Bool(true)})
			return err
		}
		h.Deny = func(t *testing.T, _ string) store.Driver {
			t.Helper()
			front.Inject(1, nil, serverstest.Answer(http.StatusBadRequest, denial))
			return open(t, front.URL)
		}
		return h
	})
}

func tag(t *testing.T, endpoint, path string, attrs map[string]string) {
	t.Helper()
	in := &sm.TagResourceInput{SecretId: &path}
	for k, v := range attrs {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	if _, err := client(endpoint, root).TagResource(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// endPending takes AWSPENDING from every version of a secret. The emulators take
// it on a current version for a rotation that runs; AWS does not.
func endPending(t *testing.T, c *sm.Client, path string) {
	t.Helper()
	out, err := c.DescribeSecret(t.Context(), &sm.DescribeSecretInput{SecretId: &path})
	if err != nil {
		t.Fatal(err)
	}
	for v, labels := range out.VersionIdsToStages {
		if slices.Contains(labels, "AWSPENDING") {
			_, err := c.UpdateSecretVersionStage(t.Context(), &sm.UpdateSecretVersionStageInput{SecretId: &path, VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: &v})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// stick asks for a rotation whose function is not there: it begins and leaves
// AWSPENDING on a version without a value. As AWS does by itself, it first takes
// the label from a version that has become current.
func stick(t *testing.T, endpoint, path string, token secret.Token) {
	t.Helper()
	c := client(endpoint, root)
	endPending(t, c, path)
	_, err := c.RotateSecret(t.Context(), &sm.RotateSecretInput{
		SecretId: &path, ClientRequestToken: aws.String(string(token)),
		RotationLambdaARN: aws.String("arn:aws:lambda:us-east-1:123456789012:function:nowhere"),
	})
	if err == nil {
		t.Fatal("a rotation without a function was done")
	}
}

const denial = `{"__type":"AccessDeniedException","Message":"not authorized"}`

// TestTokenOfAnotherValue answers as AWS documents it where moto does not.
func TestTokenOfAnotherValue(t *testing.T) {
	t.Parallel()
	front := serverstest.StartProxy(t, serverstest.StartMoto(t).URL)
	d := newDriver(t, front.URL, root)
	v1 := rotate(t, d, "reused", 1, "")
	w := write("reused", 2, v1)
	for name, c := range map[string]struct {
		answer string
		want   error
	}{
		"another value":              {`{"__type":"ResourceExistsException","Message":"A resource with the ID you requested already exists."}`, store.ErrTokenReused},
		"an answer with the request": {`{"__type":"InvalidParameterException","Message":"bad ` + string(w.Value.Reveal()) + `"}`, store.ErrInvalid},
		"scheduled for deletion":     {`{"__type":"InvalidRequestException","Message":"You can't perform this operation on the secret because it was marked for deletion."}`, store.ErrNotFound},
		"a replica":                  {`{"__type":"InvalidRequestException","Message":"Operation not permitted on a replica secret."}`, store.ErrReadOnly},
		"an internal error":          {`{"__type":"InternalServiceError","Message":"try again"}`, store.ErrUnavailable},
	} {
		if got := describe(t, d, "reused"); got != v1 {
			t.Fatalf("%s: current is %s", name, got)
		}
		front.Inject(1, nil, serverstest.Answer(http.StatusBadRequest, c.answer))
		if _, err := d.Put(t.Context(), "reused", w); !errors.Is(err, c.want) || strings.Contains(err.Error(), string(w.Value.Reveal())) {
			t.Errorf("%s: it is what is wanted: %t; and must not hold the value", name, errors.Is(err, c.want))
		}
	}
}

// count returns the calls by action, and their number.
func count(calls []string) (by map[string]int, total int) {
	by = map[string]int{}
	for _, c := range calls {
		by[c]++
	}
	return by, len(calls)
}

func write(path string, n int, from secret.VersionID) store.Write {
	return store.Write{
		Token: secret.NewToken(secret.ID(path), secret.VersionID(fmt.Sprint(n)), "test", n), From: from,
		Value: secret.NewValue(fmt.Appendf(nil, "Value-%d-of-%s", n, path)), Create: true,
	}
}

// rotate makes version n current as a rotation does, and returns it.
func rotate(t *testing.T, d store.Driver, path string, n int, from secret.VersionID) secret.VersionID {
	t.Helper()
	if _, err := d.Describe(t.Context(), path); err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	v, err := d.Put(t.Context(), path, write(path, n, from))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Promote(t.Context(), path, from, v.ID); err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// TestCalls counts what a rotation and a sweep cost. Rotation functions that
// follow AWS's own template make ten calls and more.
func TestCalls(t *testing.T) {
	t.Parallel()
	moto := serverstest.StartMoto(t)
	front := serverstest.StartProxy(t, moto.URL)
	d := newDriver(t, front.URL, root)
	const path = "calls/one"
	v1 := rotate(t, d, path, 1, "")
	for _, c := range []struct {
		name string
		d    store.Driver
	}{{"the next rotation", d}, {"a rotation in a new process", newDriver(t, front.URL, root)}} {
		front.Take()
		n := 2
		if c.d != d {
			n = 3
		}
		v1 = rotate(t, c.d, path, n, v1)
		calls, total := count(front.Take())
		t.Logf("%s: %d calls %v", c.name, total, calls)
		if want := 4 + n/3; total > want {
			t.Errorf("%s makes %d calls, want at most %d: %v", c.name, total, want, calls)
		}
	}

	const secrets, pages = 201, 3
	back := client(moto.URL, root)
	for i := range secrets - 1 {
		if _, err := back.CreateSecret(t.Context(), &sm.CreateSecretInput{Name: aws.String(fmt.Sprintf("calls/many/%d", i)), SecretString: aws.String("Value-1")}); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func() int {
		n := 0
		for _, err := range d.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	front.Take()
	for _, when := range []string{"the first sweep of a process", "a sweep of what has not changed"} {
		n := sweep()
		calls, total := count(front.Take())
		t.Logf("%s over %d secrets: %d calls %v", when, n, total, calls)
		if n != secrets || when != "the first sweep of a process" && total > pages {
			t.Errorf("%s: %d secrets by %d calls %v, want %d by %d", when, n, total, calls, secrets, pages)
		}
	}

	cfg := fast
	cfg.Scope = nothing{}
	others, err := awssm.New(client(front.URL, root), cfg)
	if err != nil {
		t.Fatal(err)
	}
	signs := 0
	for m, err := range others.List(t.Context()) {
		if signs++; err != nil || m.Path != "" {
			t.Errorf("of the secrets of others: %+v, %v", m, err)
		}
	}
	if want := pages - 1; signs != want {
		t.Errorf("%d signs of life for %d pages of the secrets of others, want %d", signs, pages, want)
	}
}

// nothing is a scope without secrets.
type nothing struct{}

func (nothing) Folder(string) bool                    { return false }
func (nothing) Path(string) bool                      { return false }
func (nothing) Secret(string, map[string]string) bool { return false }

func describe(t *testing.T, d store.Driver, path string) secret.VersionID {
	t.Helper()
	m, err := d.Describe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return m.Current().ID
}
