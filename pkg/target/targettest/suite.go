package targettest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// testCase is one test of the suite.
type testCase struct {
	name string
	run  func(t *testing.T, h *Harness)
}

// Run tests a driver.
func Run(t *testing.T, start Start) {
	runCases(t, start, slices.Concat(common, passwords))
	for _, account := range hostileAccounts {
		t.Run("hostile account "+account, func(t *testing.T) {
			t.Parallel()
			rotation(t, newHarness(t, start, account))
		})
	}
}

// RunIssued tests a driver whose server makes the values, and takes no others: names and
// values that a person or a policy chooses do not exist there.
func RunIssued(t *testing.T, start Start) { runCases(t, start, common) }

// passwords are the tests with values of the suite's own choice.
var passwords = []testCase{
	{"a value that the server refuses", refused},
	{"hostile passwords", hostilePasswords},
	{"a password in the words of the server's errors", quotedByErrors},
}

// common are the tests of every driver.
var common = []testCase{
	{"a rotation, each call made twice", rotation},
	{"what no version refers to is listed", orphans},
	{"an answer that is lost is asked for again", lostAnswer},
	{"two workers at once", twoWorkers},
	{"a server that does not listen", unreachable},
	{"open sessions hold a revocation back, and are ended on demand", sessions},
	{"sessions are ended, the idle ones or all", ended},
	{"a credential is suspended and comes back", suspension},
	{"a credential is revoked after a suspension", soaked},
	{"the current version is not revoked", spared},
	{"a retired version whose account is in use again", reuse},
	{"a version without a value is revoked", withoutValue},
	{"a version that cannot be read keeps its value", unread},
	{"a value that becomes current again", rollback},
	{"missing rights are named one at a time", rights},
}

func runCases(t *testing.T, start Start, cases []testCase) {
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, newHarness(t, start, fmt.Sprintf("app%d", i)))
		})
	}
}

// hostileAccounts are names that break statements which are put together carelessly.
var hostileAccounts = []string{
	`o'brien`, `with "quotes"`, `x; DROP ROLE postgres; --`, `naïve ünïcode 猫`, `back\slash`, `$1 $$ %s`, "UPPER lower",
}

func newHarness(t *testing.T, start Start, account string) *Harness {
	t.Helper()
	versions := &Versions{}
	h := start(t, account, versions)
	h.Versions = versions
	t.Cleanup(func() { h.silent(t) })
	return h
}

// silent fails the test if the server has logged a value of the test.
func (h *Harness) silent(t *testing.T) {
	t.Helper()
	if h.Log == nil {
		return
	}
	log := h.Log()
	if log == "" {
		t.Error("the server has logged nothing: the harness shows no log")
	}
	h.Versions.mu.Lock()
	defer h.Versions.mu.Unlock()
	for id, v := range h.Versions.values {
		password, err := v.Field("/password")
		if err != nil {
			password = v
		}
		if strings.Contains(log, string(password.Reveal())) {
			t.Errorf("the log of the server holds the value of version %s", id)
		}
	}
}

func rotation(t *testing.T, h *Harness) {
	v1 := h.rotate(t, "v1")
	h.works(t, "the first version", v1)
	v2 := h.propose(t, "v2")
	first := h.apply(t, "v2")
	if again := h.apply(t, "v2"); again != first {
		t.Errorf("a second Apply returned %+v, the first %+v", again, first)
	}
	if first.Secret != h.Spec.ID || first.Version != "v2" || first.Name == "" {
		t.Errorf("Apply() = %+v", first)
	}
	h.works(t, "the pending version", v2)
	if h.Target.Capabilities().Overlap != target.OverlapNone {
		h.works(t, "the current version beside the pending one", v1)
	}
	h.Versions.Promote("v2")
	for range 2 {
		if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); err != nil {
			t.Fatalf("revoke: %v", err)
		}
	}
	h.fails(t, "the revoked version", v1)
	h.works(t, "the current version", v2)
	h.works(t, "the version after it", h.rotate(t, "v3"))
}

func lostAnswer(t *testing.T, h *Harness) {
	if h.LoseAnswers == nil {
		t.Fatal("the harness cannot lose answers")
	}
	v1 := h.rotate(t, "v1")
	v2 := h.propose(t, "v2")
	h.LoseAnswers()
	if _, err := h.Target.Apply(t.Context(), h.change("v2")); err == nil {
		t.Error("Apply succeeded although its answer was lost")
	} else if errors.Is(err, target.ErrRejected) {
		t.Errorf("a lost answer is taken for a refusal: %v", err)
	}
	h.works(t, "the version whose answer was lost", v2)
	h.apply(t, "v2")
	h.works(t, "the same version after the second Apply", v2)
	if h.Target.Capabilities().Overlap != target.OverlapNone {
		h.works(t, "the current version", v1)
	}
	h.Versions.Promote("v2")
	h.LoseAnswers()
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); err == nil {
		t.Log("the answer to Revoke was not lost: it had nothing to change")
	}
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); err != nil {
		t.Errorf("revoke again: %v", err)
	}
	h.fails(t, "the revoked version", v1)
}

func twoWorkers(t *testing.T, h *Harness) {
	h.rotate(t, "v1")
	v2 := h.propose(t, "v2")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, err := h.Target.Apply(t.Context(), h.change("v2"))
			errs[i] = errors.Join(err, h.Target.Verify(t.Context(), h.change("v2")))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	h.works(t, "the version that all applied", v2)
	h.Versions.Promote("v2")
	for i := range errs {
		wg.Go(func() { errs[i] = h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	h.works(t, "the current version", v2)
}

func refused(t *testing.T, h *Harness) {
	if h.Refused == nil {
		return
	}
	v1 := h.rotate(t, "v1")
	h.Versions.Put("bad", h.Refused(t, h.propose(t, "v2")))
	_, err := h.Target.Apply(t.Context(), h.change("bad"))
	if !errors.Is(err, target.ErrRejected) {
		t.Errorf("err %v, want one that wraps ErrRejected", err)
	}
	h.works(t, "the current version after a refusal", v1)
	h.works(t, "a fresh value after a refusal", h.rotate(t, "v2"))
	h.Versions.Forget("bad") // the name of the account, which is in every log
}

func unreachable(t *testing.T, h *Harness) {
	h.rotate(t, "v1")
	h.rotate(t, "v2")
	h.propose(t, "v3")
	far := h.Unreachable(t)
	_, err := far.Apply(t.Context(), h.change("v3"))
	for what, err := range map[string]error{"Apply": err, "Verify": far.Verify(t.Context(), h.change("v3")), "Revoke": far.Revoke(t.Context(), h.ref("v1"), target.Drain{})} {
		if err == nil || errors.Is(err, target.ErrRejected) {
			t.Errorf("%s: err %v, want one that is no refusal of the value", what, err)
		}
	}
	if in, ok := far.(target.Inspector); ok {
		if u, err := in.InUse(t.Context(), h.ref("v1")); err == nil {
			t.Errorf("InUse() = %+v without a server; unknown is never no", u)
		}
	}
}

func hostilePasswords(t *testing.T, h *Harness) {
	for i, password := range []string{`it's "quoted" \ and; -- done`, `$1 %s ${x} $$ {{.}}`, "ünïcode 猫 pass", `  spaces around  `, strings.Repeat("long", 200)} {
		id := secret.VersionID(fmt.Sprintf("h%d", i))
		v := h.Password(t, h.propose(t, id), password)
		h.Versions.Put(id, v)
		h.apply(t, id)
		h.works(t, "password "+password, v)
		h.Versions.Promote(id)
	}
}

// quotedByErrors: an error from which the value was scrubbed still says what happened.
func quotedByErrors(t *testing.T, h *Harness) {
	v1 := h.Password(t, h.propose(t, "v1"), "password authentication failed for user, NOAUTH WRONGPASS")
	h.Versions.Put("v1", v1)
	h.apply(t, "v1")
	h.Versions.Promote("v1")
	h.rotate(t, "v2")
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); err != nil {
		t.Error(err)
	}
	h.fails(t, "the revoked version", v1)
	h.Versions.Forget("v1") // in every log
}

// rollback: a person has the value of the previous version become current again, as a
// version of its own.
func rollback(t *testing.T, h *Harness) {
	v1 := h.rotate(t, "v1")
	v2 := h.rotate(t, "v2")
	h.Versions.Put("v3", v1)
	h.apply(t, "v3")
	h.Versions.Promote("v3")
	for _, id := range []secret.VersionID{"v1", "v2"} {
		if err := h.Target.Revoke(t.Context(), h.ref(id), target.Drain{}); err != nil {
			t.Errorf("revoke %s: %v", id, err)
		}
	}
	h.fails(t, "the version that was rolled back", v2)
	h.works(t, "the version that is current again", v1)
}

func spared(t *testing.T, h *Harness) {
	v1 := h.rotate(t, "v1")
	s := h.open(t, v1)
	_ = h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{Terminate: true}) // may succeed, as it has nothing to do
	h.works(t, "the current version", v1)
	if err := s.Use(t.Context()); err != nil {
		t.Errorf("its session has ended: %v", err)
	}
}

func reuse(t *testing.T, h *Harness) {
	v1 := h.rotate(t, "v1")
	v2 := h.rotate(t, "v2")
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); err != nil {
		t.Fatal(err)
	}
	v3 := h.propose(t, "v3")
	h.apply(t, "v3")
	for range 2 { // of a worker that was paused, while v3 is pending and current
		if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{Terminate: true}); err != nil {
			t.Fatal(err)
		}
		h.works(t, "the version that has the account now", v3)
		h.Versions.Promote("v3")
	}
	if err := h.Target.Revoke(t.Context(), h.ref("v2"), target.Drain{}); err != nil {
		t.Fatal(err)
	}
	h.fails(t, "the first version", v1)
	h.fails(t, "the second version", v2)
	h.works(t, "the third version", v3)
}

func withoutValue(t *testing.T, h *Harness) {
	v1 := h.rotate(t, "v1")
	v2 := h.rotate(t, "v2")
	h.Versions.Forget("v1")
	err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{})
	if err != nil && h.Target.Capabilities().Overlap != target.OverlapNone {
		t.Fatal(err)
	}
	h.fails(t, "the revoked version", v1)
	h.works(t, "the current version", v2)
}

// unread: a store that does not answer says nothing about the value of a version.
func unread(t *testing.T, h *Harness) {
	v1 := h.rotate(t, "v1")
	v2 := h.rotate(t, "v2")
	h.Versions.Hide("v1", true)
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); !errors.Is(err, ErrUnread) {
		t.Errorf("revoke: %v, want the error of the read", err)
	}
	h.Versions.Hide("v1", false)
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); err != nil {
		t.Error(err)
	}
	h.fails(t, "the revoked version", v1)
	h.works(t, "the current version", v2)
}

func rights(t *testing.T, h *Harness) {
	h.rotate(t, "v1")
	h.rotate(t, "v2")
	for _, r := range h.Rights {
		r.Take(t)
	}
	for _, r := range h.Rights {
		if err := r.Needs(t.Context(), h, h.ref("v1")); err == nil || !strings.Contains(err.Error(), r.Name) {
			t.Errorf("without %s: err %v, want one that names it", r.Name, err)
		}
		if c, ok := h.Target.(target.Checker); ok {
			report, err := c.Check(t.Context())
			if err != nil || len(report.Missing) == 0 || !strings.Contains(report.Missing[0], r.Name) {
				t.Errorf("Check() misses %q, %v; want %s first", report.Missing, err, r.Name)
			}
		}
		r.Give(t)
	}
	if c, ok := h.Target.(target.Checker); ok {
		if report, err := c.Check(t.Context()); err != nil || !report.Ready() {
			t.Errorf("Check() = %+v, %v with every right", report, err)
		}
	}
	for _, r := range h.Rights {
		if err := r.Needs(t.Context(), h, h.ref("v1")); err != nil {
			t.Errorf("with every right: %v", err)
		}
	}
}

// Apply is for [Right.Needs]: it applies a version after the current one.
func Apply(ctx context.Context, h *Harness, _ target.Ref) error {
	c := h.change("needs")
	v, err := h.Target.Propose(ctx, c)
	if err != nil {
		return err
	}
	h.Versions.Put("needs", v)
	_, err = h.Target.Apply(ctx, c)
	return err
}

// InUse is for [Right.Needs].
func InUse(ctx context.Context, h *Harness, r target.Ref) error {
	in, ok := h.Target.(target.Inspector)
	if !ok {
		return target.ErrUnsupported
	}
	_, err := in.InUse(ctx, r)
	return err
}
