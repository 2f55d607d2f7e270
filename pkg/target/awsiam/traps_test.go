package awsiam_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/awsiam"
	"github.com/tradepulse/rotator/pkg/target/targettest"
)

// rig is a world with a target, for the traps of IAM alone.
type rig struct {
	*world
	t  *testing.T
	tg *awsiam.Target
}

func newRig(t *testing.T, s *site, name string) *rig {
	t.Helper()
	w := newWorld(t, s, name, &targettest.Versions{})
	return &rig{w, t, w.target(t, nil)}
}

func (r *rig) change(from, to secret.VersionID) target.Change {
	return r.versions.Change(secret.Spec{ID: id, Store: "main"}, from, to)
}

// propose returns the next value without storing it, as of a worker that dies.
func (r *rig) propose(from secret.VersionID) (secret.Value, error) {
	c := r.change(from, "")
	return r.tg.Propose(r.t.Context(), c)
}

// rotate rotates from a version to another one.
func (r *rig) rotate(from, to secret.VersionID) secret.Value {
	r.t.Helper()
	v, err := r.propose(from)
	if err != nil {
		r.t.Fatal(err)
	}
	r.versions.Put(to, v)
	if _, err := r.tg.Apply(r.t.Context(), r.change(from, to)); err != nil {
		r.t.Fatal(err)
	}
	r.versions.Promote(to)
	return v
}

// keys are the IDs of the keys that the user has.
func (r *rig) keys() []string {
	r.t.Helper()
	out, err := r.root.ListAccessKeys(r.t.Context(), &iam.ListAccessKeysInput{UserName: &r.user})
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, k := range out.AccessKeyMetadata {
		ids = append(ids, *k.AccessKeyId)
	}
	return ids
}

// has fails the test unless the user has exactly the given keys.
func (r *rig) has(what string, want ...string) {
	r.t.Helper()
	got := r.keys()
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		r.t.Errorf("%s: keys %v, want %v", what, got, want)
	}
}

func idOf(t *testing.T, v secret.Value) string {
	t.Helper()
	k, err := awsiam.Parse(v)
	if err != nil {
		t.Fatal(err)
	}
	return k.ID
}

// TestTraps shares one server.
func TestTraps(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, run := range map[string]func(*rig){
		"leftover": leftover, "foreign": foreignKey, "installation": otherInstallation, "emergency": emergency, "adopted": adopted, "shape": keepsDocument,
		"unmarked": unmarkable, "lost": lostKey, "settle": settles, "deleted": deletedKey, "inactive": inactiveKey, "lastused": lastUsed, "unknown": unknownVersion,
		"wronguser": wrongUser, "createright": createRight, "canary": canary,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(newRig(t, s, name))
		})
	}
}

// leftover: a worker has died after IAM made a key, before the store had it, or after it
// was applied and withdrawn. The next try removes it.
func leftover(r *rig) {
	first, err := r.propose("")
	if err != nil {
		r.t.Fatal(err)
	}
	v1 := r.rotate("", "v1")
	r.has("after the first rotation", idOf(r.t, v1))
	if _, err := r.login(r.t.Context(), first); err == nil {
		r.t.Error("the key of the worker that died works")
	}
	dropped := r.rotate("v1", "gone")
	r.versions.Promote("v1")
	r.versions.Forget("gone")
	v2 := r.rotate("v1", "v2")
	r.has("after the second", idOf(r.t, v1), idOf(r.t, v2))
	if _, err := r.login(r.t.Context(), dropped); err == nil {
		r.t.Error("the key of the version that was withdrawn works")
	}
}

// foreignKey: a key that a person has made is never deleted. It is named, in the error of
// the rotation and by a check.
func foreignKey(r *rig) {
	v1 := r.rotate("", "v1")
	theirs := *r.key(r.t, r.user).AccessKeyId
	_, err := r.propose("v1")
	if err == nil || !strings.Contains(err.Error(), "--access-key-id "+theirs) || strings.Contains(err.Error(), idOf(r.t, v1)) {
		r.t.Errorf("err %v, want one that names %s alone", err, theirs)
	}
	r.has("after a rotation that failed", idOf(r.t, v1), theirs)
	report, err := r.tg.Check(r.t.Context())
	if err != nil || report.Ready() || len(report.Traps) != 1 || !strings.Contains(report.Traps[0], theirs) {
		r.t.Errorf("Check() = %+v, %v", report, err)
	}
	found, err := r.tg.List(r.t.Context(), []secret.VersionID{"v1"})
	if err != nil || !slices.ContainsFunc(found, func(c target.Credential) bool {
		return c.Name == theirs && c.Version == "" && c.Secret == "" && strings.Contains(c.Remedy, theirs)
	}) {
		r.t.Errorf("List() = %+v, %v", found, err)
	}
}

// otherInstallation: another rotator with a secret of the same ID, and a store of its own,
// is set to the same user, as a staging system with the settings of production. Its keys
// are not those of this one, whatever the tags say.
func otherInstallation(r *rig) {
	v1 := r.rotate("", "v1")
	other := *r
	other.cfg.Read, other.versions = (&targettest.Versions{}).Read, &targettest.Versions{}
	other.cfg.Read = other.versions.Read
	other.tg = r.target(r.t, func(c *awsiam.Config) { c.Read = other.versions.Read })
	if _, err := other.propose(""); err == nil || !strings.Contains(err.Error(), idOf(r.t, v1)) {
		r.t.Errorf("an empty store: %v", err)
	}
	own := r.key(r.t, r.user)
	doc := `{"access_key_id":"` + *own.AccessKeyId + `","secret_access_key":"` + *own.SecretAccessKey + `"}`
	other.versions.Put("v1", secret.NewValue([]byte(doc)))
	other.versions.Promote("v1")
	if _, err := other.propose("v1"); err == nil || !strings.Contains(err.Error(), idOf(r.t, v1)) {
		r.t.Errorf("a store with a key of its own: %v", err)
	}
	r.has("afterwards", idOf(r.t, v1), *own.AccessKeyId)
}

// emergency: a rotation that does not wait for room removes the key of the version before.
func emergency(r *rig) {
	v1 := r.rotate("", "v1")
	v2 := r.rotate("v1", "v2")
	r.has("two versions", idOf(r.t, v1), idOf(r.t, v2))
	v3 := r.rotate("v2", "v3")
	r.has("the next one", idOf(r.t, v2), idOf(r.t, v3))
}

// adopted: a key that a person has made is the first version. Its version is known after
// its value is gone.
func adopted(r *rig) {
	k := r.key(r.t, r.user)
	v1 := secret.NewValue([]byte(`{"access_key_id":"` + *k.AccessKeyId + `","secret_access_key":"` + *k.SecretAccessKey + `","region":"eu-west-1"}`))
	if err := r.tg.Probe(r.t.Context(), v1); err != nil {
		r.t.Fatal(err)
	}
	wrong, err := v1.WithField(awsiam.FieldSecret, "wrong")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.tg.Probe(r.t.Context(), wrong); !errors.Is(err, target.ErrRefused) {
		r.t.Errorf("a wrong secret key: %v", err)
	}
	report, err := r.tg.Check(r.t.Context())
	if err != nil || !report.Ready() || !slices.ContainsFunc(report.Notes, func(n string) bool { return strings.Contains(n, "is unknown") }) {
		r.t.Errorf("Check() before an import = %+v, %v", report, err)
	}
	r.versions.Put("v1", v1)
	r.versions.Promote("v1")
	v2 := r.rotate("v1", "v2")
	r.versions.Forget("v1")
	if err := r.tg.Revoke(r.t.Context(), target.Ref{Secret: id, Version: "v1"}, target.Drain{}); err != nil {
		r.t.Fatal(err)
	}
	r.has("after the retirement", idOf(r.t, v2))
}

// keepsDocument: a rotation changes the two fields of a key and no other byte.
func keepsDocument(r *rig) {
	k := r.key(r.t, r.user)
	const before, between, after = `{ "region": "eu-west-1", "access_key_id": "`, `",  "secret_access_key":"`, `", "note":null}`
	r.versions.Put("v1", secret.NewValue([]byte(before+*k.AccessKeyId+between+*k.SecretAccessKey+after)))
	r.versions.Promote("v1")
	v2 := r.rotate("v1", "v2")
	next, err := awsiam.Parse(v2)
	if err != nil || string(v2.Reveal()) != before+next.ID+between+next.Secret+after || next.ID == *k.AccessKeyId {
		r.t.Errorf("the document has changed otherwise: %v", err)
	}
	r.versions.Put("odd", secret.NewValue([]byte(`{"user":"app"}`)))
	r.versions.Promote("odd")
	if _, err := r.propose("odd"); err == nil {
		r.t.Error("a document without a place for a key was taken")
	}
	r.has("after a refusal", *k.AccessKeyId, next.ID)
}

// unmarkable: a key that cannot be marked does not stay.
func unmarkable(r *rig) {
	r.without["TagUser"] = true
	r.grant(r.t)
	if _, err := r.propose(""); err == nil || !strings.Contains(err.Error(), "iam:TagUser") {
		r.t.Errorf("err %v", err)
	}
	r.has("afterwards")
}

// lostKey: the answer with a new key is lost. No second one is made, and the next try names
// the first: nothing says whose it is.
func lostKey(r *rig) {
	r.cfg.AWS.RetryMaxAttempts = 3
	r.tg = r.target(r.t, nil)
	r.wire.lose("CreateAccessKey")
	if _, err := r.propose(""); err == nil {
		r.t.Error("an answer that was lost is a success")
	}
	if got := r.keys(); len(got) != 1 {
		r.t.Fatalf("keys %v, want one", got)
	}
	if _, err := r.propose(""); err == nil || !strings.Contains(err.Error(), r.keys()[0]) {
		r.t.Errorf("err %v, want one that names %s", err, r.keys()[0])
	}
}

// settles: AWS refuses a new key at first. Verify tries again, and not for ever.
func settles(r *rig) {
	v, err := r.propose("")
	if err != nil {
		r.t.Fatal(err)
	}
	r.versions.Put("v1", v)
	left := 2
	r.wire.set(func(req *http.Request, body string) bool {
		if strings.Contains(body, "GetCallerIdentity") && left != 0 {
			left--
			req.Header.Set("Authorization", req.Header.Get("Authorization")+"0") // a wrong signature
		}
		return false
	})
	if err := r.tg.Verify(r.t.Context(), r.change("", "v1")); err != nil || left != 0 {
		r.t.Errorf("%v, %d left", err, left)
	}
	left = -1
	short := r.target(r.t, func(c *awsiam.Config) { c.Lag = time.Second })
	if err := short.Verify(r.t.Context(), r.change("", "v1")); !errors.Is(err, target.ErrRefused) {
		r.t.Errorf("a key that AWS never takes: %v", err)
	}
}

// deletedKey: a pending key that another program has deleted is rejected, so that the
// rotation makes another one.
func deletedKey(r *rig) {
	v1 := r.rotate("", "v1")
	v2, err := r.propose("v1")
	if err != nil {
		r.t.Fatal(err)
	}
	r.versions.Put("v2", v2)
	dead := idOf(r.t, v2)
	if _, err := r.root.DeleteAccessKey(r.t.Context(), &iam.DeleteAccessKeyInput{UserName: &r.user, AccessKeyId: &dead}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.tg.Apply(r.t.Context(), r.change("v1", "v2")); !errors.Is(err, target.ErrRejected) {
		r.t.Errorf("err %v", err)
	}
	v3 := r.rotate("v1", "v3")
	r.has("a fresh one", idOf(r.t, v1), idOf(r.t, v3))
}

// inactiveKey: a suspended key that becomes current again, as by a rollback, works.
func inactiveKey(r *rig) {
	v1 := r.rotate("", "v1")
	r.rotate("v1", "v2")
	if err := r.tg.Suspend(r.t.Context(), target.Ref{Secret: id, Version: "v1"}); err != nil {
		r.t.Fatal(err)
	}
	r.versions.Put("v3", v1)
	if _, err := r.tg.Apply(r.t.Context(), r.change("v2", "v3")); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.login(r.t.Context(), v1); err != nil {
		r.t.Error(err)
	}
	// of a worker that still retires v1
	if err := r.tg.Suspend(r.t.Context(), target.Ref{Secret: id, Version: "v1"}); !errors.Is(err, target.ErrCurrent) {
		r.t.Errorf("suspend the pending key: %v", err)
	}
	if err := r.tg.Revoke(r.t.Context(), target.Ref{Secret: id, Version: "v1"}, target.Drain{}); err != nil {
		r.t.Error(err)
	}
	if _, err := r.login(r.t.Context(), v1); err != nil {
		r.t.Error(err)
	}
}

// lastUsed: the last use of the old key is told, that of the current one is not its own.
func lastUsed(r *rig) {
	v1 := r.rotate("", "v1")
	r.rotate("v1", "v2")
	use := func() target.Usage {
		u, err := r.tg.InUse(r.t.Context(), target.Ref{Secret: id, Version: "v1"})
		if err != nil {
			r.t.Fatal(err)
		}
		return u
	}
	if u := use(); !u.LastUsed.IsZero() {
		r.t.Errorf("%+v before any use", u)
	}
	if _, err := r.login(r.t.Context(), v1); err != nil {
		r.t.Fatal(err)
	}
	if u := use(); time.Since(u.LastUsed) > time.Hour || len(u.Sessions) > 0 {
		r.t.Errorf("%+v after a use", u)
	}
	if c := r.tg.Capabilities(); c.InUse != target.InUseLastUsed || c.UseLag != 4*time.Hour {
		r.t.Errorf("capabilities %+v", c)
	}
}

// unknownVersion: the value of a version is gone and no tag names its key, while a key is
// of no version: that may be the one, so nothing is revoked and nothing is unused.
func unknownVersion(r *rig) {
	r.rotate("", "v1")
	theirs := *r.key(r.t, r.user).AccessKeyId
	ref := target.Ref{Secret: id, Version: "v0"}
	_, used := r.tg.InUse(r.t.Context(), ref)
	for what, err := range map[string]error{
		"InUse": used, "Revoke": r.tg.Revoke(r.t.Context(), ref, target.Drain{}), "Suspend": r.tg.Suspend(r.t.Context(), ref),
	} {
		if err == nil || !strings.Contains(err.Error(), theirs) {
			r.t.Errorf("%s: %v, want an error that names %s", what, err, theirs)
		}
	}
}

// wrongUser: a key of another user works at AWS, and is none of this target.
func wrongUser(r *rig) {
	k := r.key(r.t, r.admin)
	v := secret.NewValue([]byte(`{"access_key_id":"` + *k.AccessKeyId + `","secret_access_key":"` + *k.SecretAccessKey + `"}`))
	if err := r.tg.Probe(r.t.Context(), v); !errors.Is(err, target.ErrRefused) || !strings.Contains(err.Error(), r.admin) {
		r.t.Errorf("err %v", err)
	}
	r.rotate("", "v1")
	r.versions.Put("v0", v)
	if err := r.tg.Revoke(r.t.Context(), target.Ref{Secret: id, Version: "v0"}, target.Drain{}); err != nil && !strings.Contains(err.Error(), r.admin) {
		r.t.Error(err)
	}
	if _, err := r.root.GetAccessKeyLastUsed(r.t.Context(), &iam.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKeyId}); err != nil {
		r.t.Errorf("the key of the other user: %v", err)
	}
}

// createRight: the one right that a check cannot try is named by the rotation.
func createRight(r *rig) {
	r.without["CreateAccessKey"] = true
	r.grant(r.t)
	if _, err := r.propose(""); err == nil || !strings.Contains(err.Error(), "iam:CreateAccessKey") {
		r.t.Errorf("err %v", err)
	}
	report, err := r.tg.Check(r.t.Context())
	if err != nil || !slices.ContainsFunc(report.Notes, func(n string) bool { return strings.Contains(n, "iam:CreateAccessKey") }) {
		r.t.Errorf("Check() = %+v, %v", report, err)
	}
}

// canary: no secret key is in a request but that of the signature, in an error or a tag.
func canary(r *rig) {
	v1 := r.rotate("", "v1")
	k, err := awsiam.Parse(v1)
	if err != nil {
		r.t.Fatal(err)
	}
	r.wire.set(func(req *http.Request, body string) bool {
		if strings.Contains(body+req.URL.String()+req.Header.Get("Authorization"), k.Secret) {
			r.t.Error("a request holds the secret key")
		}
		return false
	})
	r.rotate("v1", "v2")
	if err := r.tg.Revoke(r.t.Context(), target.Ref{Secret: id, Version: "v1"}, target.Drain{}); err != nil {
		r.t.Fatal(err)
	}
	if err := r.tg.Probe(r.t.Context(), v1); err == nil || strings.Contains(err.Error(), k.Secret) {
		r.t.Errorf("a key that was deleted: %t", err == nil)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	cancel()
	if err := r.tg.Probe(ctx, v1); err == nil || errors.Is(err, target.ErrRefused) {
		r.t.Errorf("without an answer: %v", err)
	}
}

// TestNames: a name is refused that IAM would refuse, or that names something else.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "team/app", "a b", "ünïcode", "x;y", strings.Repeat("x", 65)} {
		if awsiam.CheckNames(user, id) == nil {
			t.Errorf("user %q is taken", user)
		}
	}
	if awsiam.CheckNames("app.x+y=z,a@b_c-d", id) != nil || awsiam.CheckNames("app", secret.ID(strings.Repeat("ü", 100))) == nil {
		t.Error("a name that IAM takes is refused, or an ID that no tag takes is taken")
	}
}

// TestThePolicyOfThePage: the page has the rights that the suite takes away one by one.
func TestThePolicyOfThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/targets/awsiam.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`"iam:([A-Za-z]+)"`).FindAllSubmatch(page, -1) {
		got = append(got, string(m[1]))
	}
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(actions)); !slices.Equal(got, want) {
		t.Errorf("the page grants %v, the target needs %v", got, want)
	}
}
