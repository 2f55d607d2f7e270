package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Harness is a driver under test and what the suite can do to its service past the
// driver.
type Harness struct {
	// Driver is what is tested, on a store that the test has for itself or that
	// it shares only with paths that other tests made unique.
	Driver store.Driver
	// Seed makes a secret whose current version has the value; required for a
	// driver that declares ReadOnly.
	Seed func(t *testing.T, path string, v secret.Value)
	// Tag sets the attributes of a secret; required for a driver that declares
	// Attributes.
	Tag func(t *testing.T, path string, attributes map[string]string)
	// Schedule configures a rotation in the service for a secret; required for a
	// driver that declares External.
	Schedule func(t *testing.T, path string)
	// Cut returns a driver on the same store whose connection to the bus has
	// ended; required for a driver that declares OnBus.
	Cut func(t *testing.T) store.Driver
	// EventName returns how an event of the service names a secret; required for a
	// driver that declares EventSource.
	EventName func(t *testing.T, path string) string
	// Another opens the store once more, as another process does; nil when it is
	// in the memory of this one.
	Another func(t *testing.T) store.Driver
	// Stick leaves a pending version without a value, as a rotation does that
	// failed early; nil when the service cannot have one.
	Stick func(t *testing.T, path string, token secret.Token)
	// Delete removes the secret as another program would; nil when that cannot be had.
	Delete func(ctx context.Context, path string) error
	// Deny returns a driver on the same store whose credentials lack one
	// operation (describe, list, get, put, promote, retire); nil when the
	// service knows no permissions.
	Deny func(t *testing.T, op string) store.Driver
	// Throttle returns a driver on the same store whose next call is refused
	// for its rate; nil when the service does not do so.
	Throttle func(t *testing.T) store.Driver
	// Quoting returns a driver on the same store whose server is behind a proxy:
	// that has answer reply to each request, as it came over the wire, or pass it
	// on when the status is 0. Required for a driver that sends values over HTTP.
	Quoting func(t *testing.T, answer func(request []byte) (status int, body []byte)) store.Driver
	// Differs names the cases that the server under test cannot pass because it
	// does not do what the service that it stands for documents, with the reason.
	// A driver is never bent to pass them.
	Differs map[string]string
	// ListOf is how many secrets the listing case makes: more than the driver or
	// its service handles at once. 0 means 300.
	ListOf int
}

// Run holds a driver to the contract of [store.Driver] and to the features that it
// declares. Of a driver that declares ReadOnly it only tests the features.
func Run(t *testing.T, harness func(t *testing.T) Harness) {
	t.Helper()
	run := func(name string, test func(*testing.T, *bench)) {
		t.Run(name, func(t *testing.T) {
			h := harness(t)
			if why, ok := h.Differs[name]; ok {
				t.Logf("not held to it: %s", why)
				return
			}
			test(t, &bench{t: t, h: h, d: h.Driver, path: unique(t)})
		})
	}
	for _, p := range proofs {
		run("feature "+p.field, func(t *testing.T, b *bench) {
			t.Helper()
			if err := p.check(t, b); err != nil {
				t.Error(err)
			}
		})
	}
	if harness(t).Driver.Features().ReadOnly {
		return
	}
	for _, c := range cases {
		run(c.name, c.run)
	}
}

var cases = []struct {
	name string
	run  func(*testing.T, *bench)
}{
	{"a secret that is not there is not found", notFound},
	{"put makes a secret only where it may", createOnly},
	{"a pending version is not served to readers", pendingUnseen},
	{"put is idempotent by token", putIdempotent},
	{"a token cannot name two values", tokenReused},
	{"put away from a stale version conflicts", staleFrom},
	{"a pending version of another rotation stands in the way until it is replaced", foreignPending},
	{"concurrent puts of one token make one version", concurrentPut},
	{"of concurrent rotations one has the pending version", concurrentTokens},
	{"a pending version without a value is known as such", stuckEmpty},
	{"what became current is not pending any more", stuckCurrent},
	{"promote moves current and previous in one step", promoteMoves},
	{"promoting what is current is success", promoteTwice},
	{"promote from a stale version conflicts", promoteStale},
	{"promoting what is not there is not found", promoteMissing},
	{"of concurrent promotions one version wins", concurrentPromote},
	{"a process that has fallen behind promotes nothing", behind},
	{"a pending version that another process withdrew or replaced is not promoted", withdrawn},
	{"the version before the previous one loses its stage", thirdRotation},
	{"retire takes the stage away", retireStage},
	{"the current version cannot be retired", retireCurrent},
	{"a pending version can be given up", retirePending},
	{"a pending version that is given up while it is promoted keeps its value if it is current", retireRacesPromote},
	{"a version that was retired while another is current is not the current one", retireWhile},
	{"retiring twice or what is gone is success", retireTwice},
	{"every retire mode takes the stage away", retireModes},
	{"a version that is to be revoked stays listed, and keeps its value", retireLater},
	{"a version keeps its token and its dates", roundTrip},
	{"64 KiB fit, and one byte more does not", largest},
	{"binary values and unicode come back as they were", anyBytes},
	{"list shows every secret once", list},
	{"a cancelled context ends the call", cancelled},
	{"a secret deleted under us is not found", deleted},
	{"a secret that is deleted and made anew is another one", remade},
	{"a missing permission is access denied", denied},
	{"throttling is told as such, and passes", throttled},
	{"no error holds a value", canary},
	{"a server that quotes the request gives no value away", quoting},
}

// bench is one case's view of a driver: one path on it.
type bench struct {
	t    *testing.T
	h    Harness
	d    store.Driver
	path string
}

var counter struct {
	sync.Mutex
	n int
}

// unique returns a path that no other case uses.
func unique(t *testing.T) string {
	t.Helper()
	counter.Lock()
	defer counter.Unlock()
	counter.n++
	return fmt.Sprintf("conformance/%d-%d", time.Now().UnixNano(), counter.n)
}

func value(s string) secret.Value { return secret.NewValue([]byte(s)) }

func (b *bench) token(n int) secret.Token {
	return secret.NewToken(secret.ID(b.path), secret.VersionID(fmt.Sprint(n)), "conformance", n)
}

func (b *bench) write(n int, from secret.VersionID) store.Write {
	return store.Write{Token: b.token(n), From: from, Value: value(fmt.Sprintf("Value-%d-of-%s!", n, b.path)), Create: true}
}

func (b *bench) put(w store.Write) secret.Version {
	b.t.Helper()
	v, err := b.d.Put(b.t.Context(), b.path, w)
	if err != nil {
		b.t.Fatalf("put: %v", err)
	}
	return v
}

// rotate puts and promotes version n after from.
func (b *bench) rotate(n int, from secret.VersionID) secret.VersionID {
	b.t.Helper()
	v := b.put(b.write(n, from))
	if err := b.d.Promote(b.t.Context(), b.path, from, v.ID); err != nil {
		b.t.Fatalf("promote: %v", err)
	}
	return v.ID
}

func (b *bench) describe() secret.Metadata {
	b.t.Helper()
	m, err := b.d.Describe(b.t.Context(), b.path)
	if err != nil {
		b.t.Fatalf("describe: %v", err)
	}
	return m
}

func (b *bench) wantStages(want map[secret.Stage]secret.VersionID) {
	b.t.Helper()
	m := b.describe()
	for _, stage := range []secret.Stage{secret.StagePending, secret.StageCurrent, secret.StagePrevious} {
		if v, _ := m.At(stage); v.ID != want[stage] {
			b.t.Errorf("%s is %q, want %q", stage, v.ID, want[stage])
		}
	}
}

func (b *bench) wantErr(what string, err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Errorf("%s: %v, want an error that wraps %q", what, err, want)
	}
}

func notFound(t *testing.T, b *bench) {
	t.Helper()
	_, err := b.d.Describe(t.Context(), b.path)
	b.wantErr("describe", err, store.ErrNotFound)
	_, _, err = b.d.Get(t.Context(), b.path, store.Selector{})
	b.wantErr("get", err, store.ErrNotFound)
	b.rotate(1, "")
	_, _, err = b.d.Get(t.Context(), b.path, store.Selector{Version: secret.VersionID(b.token(99))})
	b.wantErr("get a version", err, store.ErrNotFound)
}

func createOnly(t *testing.T, b *bench) {
	t.Helper()
	w := b.write(1, "")
	w.Create = false
	_, err := b.d.Put(t.Context(), b.path, w)
	b.wantErr("put", err, store.ErrNotFound)
	b.rotate(1, "")
}

func pendingUnseen(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.put(b.write(1, ""))
	if _, _, err := b.d.Get(t.Context(), b.path, store.Selector{}); !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrNoValue) {
		t.Errorf("get before the first promotion: %v", err)
	}
	if err := b.d.Promote(t.Context(), b.path, "", v1.ID); err != nil {
		t.Fatal(err)
	}
	v2 := b.put(b.write(2, v1.ID))
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v1.ID, secret.StagePending: v2.ID})
	got, val, err := b.d.Get(t.Context(), b.path, store.Selector{})
	if err != nil || got.ID != v1.ID || !val.Equal(b.write(1, "").Value) {
		t.Errorf("current is %s, err %v; want version 1", got.ID, err)
	}
	got, val, err = b.d.Get(t.Context(), b.path, store.Selector{Stage: secret.StagePending})
	if err != nil || got.ID != v2.ID || !val.Equal(b.write(2, "").Value) {
		t.Errorf("pending is %s, err %v; want version 2", got.ID, err)
	}
}

func putIdempotent(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	a, c := b.put(b.write(2, v1)), b.put(b.write(2, v1))
	if a.ID != c.ID {
		t.Errorf("the same put gave %s and %s", a.ID, c.ID)
	}
	if err := b.d.Promote(t.Context(), b.path, v1, a.ID); err != nil {
		t.Fatal(err)
	}
	if again := b.put(b.write(2, v1)); again.ID != a.ID || again.Stage != secret.StageCurrent {
		t.Errorf("the same put after its promotion gave %s in stage %s", again.ID, again.Stage)
	}
}

func tokenReused(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	b.put(b.write(2, v1))
	w := b.write(2, v1)
	w.Value = value("Another-Value-For-The-Token-1!")
	_, err := b.d.Put(t.Context(), b.path, w)
	b.wantErr("put", err, store.ErrTokenReused)
}

func staleFrom(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	b.rotate(2, v1)
	_, err := b.d.Put(t.Context(), b.path, b.write(3, v1))
	b.wantErr("put", err, store.ErrConflict)
}

func foreignPending(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	foreign := b.put(b.write(2, v1))
	w := b.write(3, v1)
	_, err := b.d.Put(t.Context(), b.path, w)
	b.wantErr("put", err, store.ErrPending)
	w.Replace = foreign.ID
	mine := b.put(w)
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v1, secret.StagePending: mine.ID})
}

func concurrentPut(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	var wg sync.WaitGroup
	ids := make([]secret.VersionID, 8)
	for i := range ids {
		wg.Go(func() {
			v, err := b.d.Put(t.Context(), b.path, b.write(2, v1))
			if err != nil {
				t.Errorf("put: %v", err)
			}
			ids[i] = v.ID
		})
	}
	wg.Wait()
	if slices.ContainsFunc(ids, func(id secret.VersionID) bool { return id != ids[0] }) {
		t.Errorf("one token gave %v", ids)
	}
}

func concurrentTokens(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	var wg sync.WaitGroup
	ids := make([]secret.VersionID, 8)
	for i := range ids {
		wg.Go(func() {
			v, err := b.d.Put(t.Context(), b.path, b.write(2+i, v1))
			if err != nil && !errors.Is(err, store.ErrPending) && !errors.Is(err, store.ErrConflict) {
				t.Errorf("put: %v", err)
			}
			ids[i] = v.ID
		})
	}
	wg.Wait()
	made := slices.DeleteFunc(ids, func(id secret.VersionID) bool { return id == "" })
	if len(made) != 1 {
		t.Fatalf("%d of 8 rotations have written a pending version, want 1", len(made))
	}
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v1, secret.StagePending: made[0]})
}

func promoteMoves(_ *testing.T, b *bench) {
	b.t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2, secret.StagePrevious: v1})
	_, val, err := b.d.Get(b.t.Context(), b.path, store.Selector{Stage: secret.StagePrevious})
	if err != nil || !val.Equal(b.write(1, "").Value) {
		b.t.Errorf("the previous version is not what it was: %v", err)
	}
}

func promoteTwice(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	if err := b.d.Promote(t.Context(), b.path, v1, v2); err != nil {
		t.Errorf("the same promotion again: %v", err)
	}
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2, secret.StagePrevious: v1})
}

func promoteStale(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	v3 := b.put(b.write(3, v2))
	b.wantErr("promote", b.d.Promote(t.Context(), b.path, v1, v3.ID), store.ErrConflict)
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2, secret.StagePrevious: v1, secret.StagePending: v3.ID})
}

func promoteMissing(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	b.wantErr("promote", b.d.Promote(t.Context(), b.path, v1, secret.VersionID(b.token(77))), store.ErrNotFound)
}

func concurrentPromote(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.put(b.write(2, v1))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := b.d.Promote(t.Context(), b.path, v1, v2.ID); err != nil && !errors.Is(err, store.ErrConflict) {
				t.Errorf("promote: %v", err)
			}
		})
	}
	wg.Wait()
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2.ID, secret.StagePrevious: v1})
}

func thirdRotation(_ *testing.T, b *bench) {
	b.t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	v3 := b.rotate(3, v2)
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v3, secret.StagePrevious: v2})
}
