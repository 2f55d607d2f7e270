package integration

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const firstValue = "First-value-1-of-a-secret"

// TestLambdaRotates drives rotations of a secret that the configuration lists
// and of one that it does not, each step twice.
func TestLambdaRotates(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "", secret.Spec{ID: "LISTED", Store: "embedded", Path: "listed/path"})
	for name, id := range map[string]secret.ID{"listed/path": "LISTED", "not/listed": "not/listed"} {
		arn := h.make(name, firstValue)
		from := h.current(arn)
		for range 2 {
			token := h.begin(arn, true)
			for _, step := range lambdaSteps {
				for range 2 {
					if err := h.step(step, arn, token); err != nil {
						t.Fatalf("%v\n%s", err, h.fn.Output())
					}
				}
			}
			h.settle(arn, token)
			h.rotated(name, arn, id, token, from)
			from = string(token)
		}
	}
	if n := h.fn.Starts(); n != 1 {
		t.Errorf("it took %d processes", n)
	}
}

// TestLambdaCalls counts what each step calls, in a process of its own as after
// a cold start. Only the last one needs the bus.
func TestLambdaCalls(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "")
	arn := h.make("counted", firstValue)
	token := h.begin(arn, true)
	for i, most := range []int{6, 4, 6, 9} { // the last one reads the version of another program, to check it
		calls, writes, published := map[string]int{}, 0, 0
		h.calls.set(func(b boundary) bool {
			switch {
			case b.after:
			case strings.HasPrefix(b.call, "publish"):
				published++
			default:
				calls[b.call]++
				writes += map[string]int{"PutSecretValue": 1, "UpdateSecretVersionStage": 1}[b.call]
			}
			return true
		})
		if err := h.step(lambdaSteps[i], arn, token); err != nil {
			t.Fatal(err)
		}
		h.calls.set(nil)
		h.fn.Kill()
		total := 0
		for _, n := range calls {
			total += n
		}
		t.Logf("%s: %d calls %v, %d published", lambdaSteps[i], total, calls, published)
		last := lambdaSteps[i] == "finishSecret"
		if total > most || writes > 1 || !last && published > 0 {
			t.Errorf("%s makes %d calls %v, want at most %d and one write; it publishes %d", lambdaSteps[i], total, calls, most, published)
		}
		if opened := h.calls.opened(); (opened > 0) != last {
			t.Errorf("%s: %d connections to the bus", lambdaSteps[i], opened)
		}
	}
}

// TestLambdaKilledAtEveryCall kills the function with SIGKILL before and after
// every call that a rotation makes to Secrets Manager and to the bus, one
// boundary per round, drives the rotation again, and demands that it ends as if
// nothing had been.
func TestLambdaKilledAtEveryCall(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "")
	var names []string
	for at := 1; ; at++ {
		name := fmt.Sprintf("killed/%02d", at)
		arn := h.make(name, firstValue)
		from, token := h.current(arn), h.begin(arn, true)
		n, where := 0, boundary{}
		h.calls.set(func(b boundary) bool {
			if n++; n == at {
				where = b
				h.fn.Kill()
				return false
			}
			return n < at || where == boundary{}
		})
		first := h.drive(arn, token)
		h.calls.set(nil)
		if n < at {
			break
		}
		// A process that dies after its last call may have answered before.
		if first != nil && !errors.Is(first, serverstest.ErrExited) {
			t.Fatalf("killed %s: %v", where, first)
		}
		if err := h.drive(arn, token); err != nil {
			t.Fatalf("killed %s: the next try: %v\n%s", where, err, h.fn.Output())
		}
		h.rotated("killed "+where.String(), arn, secret.ID(name), token, from)
		names = append(names, where.String())
	}
	t.Logf("killed at %d boundaries: %s", len(names), strings.Join(names, ", "))
	for _, want := range []string{"before DescribeSecret", "after PutSecretValue", "before UpdateSecretVersionStage", "after UpdateSecretVersionStage", "before publish rotated", "after publish rotated"} {
		if !slices.Contains(names, want) {
			t.Errorf("the function was never killed %s", want)
		}
	}
}

// TestLambdaTimesOut lets every call in turn go unanswered until the function
// has to give up, in each of the steps, and has the rotation driven again.
func TestLambdaTimesOut(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "lambda: {nats_timeout: 1s}\n")
	for _, step := range lambdaSteps {
		hangs := 0
		for _, call := range []string{"DescribeSecret", "PutSecretValue", "GetSecretValue", "UpdateSecretVersionStage"} {
			name := "late/" + step + "/" + call
			arn := h.make(name, firstValue)
			from, token := h.current(arn), h.begin(arn, true)
			before := lambdaSteps[:slices.Index(lambdaSteps, step)]
			for _, s := range before {
				if err := h.step(s, arn, token); err != nil {
					t.Fatal(err)
				}
			}
			var hung atomic.Bool
			h.calls.set(func(b boundary) bool {
				stop := b.call == call && b.after // it takes effect, and the answer is lost
				hung.Store(hung.Load() || stop)
				return !stop
			})
			err := h.stepWithin(3*time.Second, step, arn, token)
			h.calls.set(nil)
			if hung.Load() {
				hangs++
			}
			if hung.Load() != (err != nil) {
				t.Errorf("%s: a call hung: %t, the step: %v", name, hung.Load(), err)
			}
			if err != nil && !errors.Is(err, serverstest.ErrTimedOut) && !strings.Contains(err.Error(), "deadline exceeded") {
				t.Errorf("%s: %v", name, err)
			}
			if err := h.drive(arn, token); err != nil {
				t.Fatalf("%s: the next try: %v", name, err)
			}
			h.rotated(name, arn, secret.ID(name), token, from)
		}
		if hangs == 0 {
			t.Errorf("%s: no call hung, not even that of reading the secret", step)
		}
	}
}

// TestLambdaGuards asks for steps that AWS's own templates refuse, and holds
// that they change nothing.
func TestLambdaGuards(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "")
	quiet := h.make("never/enabled", firstValue)
	if err := h.step("createSecret", quiet, secret.Token(h.current(quiet))); err == nil || !strings.Contains(err.Error(), "not enabled") {
		t.Errorf("rotation is not enabled: %v", err)
	}

	arn := h.make("guarded", firstValue)
	first := h.current(arn)
	refused := func(when, want string, token secret.Token, steps ...string) {
		t.Helper()
		was := fmt.Sprint(h.labels(arn))
		for _, step := range steps {
			if err := h.step(step, arn, token); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %s: %v, want %q", when, step, err, want)
			}
		}
		if is := fmt.Sprint(h.labels(arn)); is != was {
			t.Errorf("%s: labels %s, were %s", when, is, was)
		}
	}
	own := h.arn
	h.arn = "arn:aws:lambda:eu-central-1:123456789012:function:other"
	others := h.begin(arn, true)
	refused("a secret of another function", "another function", others, lambdaSteps...)
	h.unlabel(arn, others)
	h.arn = own + ":live" // an alias of this function
	second := h.begin(arn, true)
	refused("out of order", "createSecret has not been done", second, "setSecret", "finishSecret")
	refused("an unknown token", "no version", secret.NewToken("x", "", "", 0), lambdaSteps...)
	refused("a step that is none", "Step is none of", second, "create_secret", "CreateSecret", "")
	if err := h.drive(arn, second); err != nil {
		t.Fatal(err)
	}
	h.rotated("guarded", arn, "guarded", second, first)
	third := h.begin(arn, true)
	if err := h.drive(arn, third); err != nil {
		t.Fatal(err)
	}
	refused("the token of the rotation before", "not AWSPENDING", second, lambdaSteps...)
	refused("the token of the one before that", "no version", secret.Token(first), lambdaSteps...)
	if err := h.drive(arn, third); err != nil {
		t.Errorf("a rotation that is over, driven again: %v", err)
	}
	h.rotated("driven again", arn, "guarded", third, string(second))

	gone := h.begin(arn, true)
	if err := h.step("createSecret", arn, gone); err != nil {
		t.Fatal(err)
	}
	if _, err := h.sm.DeleteSecret(t.Context(), &sm.DeleteSecretInput{SecretId: &arn}); err != nil {
		t.Fatal(err)
	}
	for _, step := range lambdaSteps[1:] {
		if err := h.step(step, arn, gone); err == nil || !strings.Contains(err.Error(), "scheduled for deletion") {
			t.Errorf("%s of a secret that was deleted: %v", step, err)
		}
	}
	if log := logOf(t, h.nc, events.TypeRotated)["guarded"]; countVersion(log, secret.VersionID(gone)) != 0 {
		t.Error("a version of a deleted secret was announced")
	}
}

// TestLambdaInterleaved cancels a rotation amid its steps, begins another, and
// mixes the steps of both.
func TestLambdaInterleaved(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "")
	for at := range lambdaSteps {
		name := fmt.Sprintf("interleaved/%d", at)
		arn := h.make(name, firstValue)
		from, one := h.current(arn), h.begin(arn, true)
		for _, step := range lambdaSteps[:at] {
			if err := h.step(step, arn, one); err != nil {
				t.Fatal(err)
			}
		}
		h.unlabel(arn, one)
		two := h.begin(arn, true)
		for _, step := range lambdaSteps {
			if err := h.step(step, arn, one); err == nil {
				t.Errorf("%s: %s of the rotation that was cancelled succeeds", name, step)
			}
			if err := h.step(step, arn, two); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		h.settle(arn, two)
		h.rotated(name, arn, secret.ID(name), two, from)
	}
}

// TestLambdaTrial has a configuration tried out as RotateSecret with
// RotateImmediately=false does: testSecret alone, against a version that goes
// away again.
func TestLambdaTrial(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "")
	arn := h.make("tried", "older than the policy")
	from := h.current(arn)
	for _, value := range []bool{true, false} { // AWS does not document whether the version has a value
		token := h.begin(arn, value)
		was := fmt.Sprint(h.labels(arn))
		if err := h.step("testSecret", arn, token); err != nil {
			t.Error(err)
		}
		if is := fmt.Sprint(h.labels(arn)); is != was {
			t.Errorf("labels %s, were %s", is, was)
		}
		h.unlabel(arn, token)
	}
	if log := logOf(t, h.nc, events.TypeRotated); len(log) != 0 || h.current(arn) != from {
		t.Errorf("announced %v, current %s, was %s", log, h.current(arn), from)
	}
	if strings.Contains(h.fn.Output(), "nats") {
		t.Errorf("the bus was opened:\n%s", h.fn.Output())
	}
}

// TestLambdaWithoutBus rotates while the bus is down: the rotation is done, the
// log says loudly that it was not announced, the next invocation of AWS and the
// sweep of a scheduler announce it, once.
func TestLambdaWithoutBus(t *testing.T) {
	t.Parallel()
	specs := []secret.Spec{
		{ID: "BY_RETRY", Store: "embedded", Path: "by/retry", TTL: time.Hour},
		{ID: "BY_SWEEP", Store: "embedded", Path: "by/sweep", TTL: time.Hour},
	}
	h := newHosted(t, "lambda: {nats_timeout: 1s}\n", specs...)
	arns, tokens, from := map[secret.ID]string{}, map[secret.ID]secret.Token{}, map[secret.ID]string{}
	for _, s := range specs {
		arns[s.ID] = h.make(s.Path, firstValue)
		from[s.ID], tokens[s.ID] = h.current(arns[s.ID]), h.begin(arns[s.ID], true)
	}
	h.calls.set(func(b boundary) bool { return !strings.HasPrefix(b.call, "publish") }) // what is published gets nowhere
	for id, arn := range arns {
		if err := h.drive(arn, tokens[id]); err != nil {
			t.Fatalf("%s: an announcement that is lost fails the rotation: %v", id, err)
		}
		if h.current(arn) != string(tokens[id]) {
			t.Errorf("%s: the rotation is not done", id)
		}
	}
	if n := strings.Count(h.fn.Output(), `"level":"ERROR","msg":"lambda.announcement_lost"`); n < len(specs) {
		t.Errorf("%d errors in the log, want one for each rotation:\n%s", n, h.fn.Output())
	}
	h.calls.set(nil)
	if err := h.step("finishSecret", arns["BY_RETRY"], tokens["BY_RETRY"]); err != nil {
		t.Fatal(err)
	}
	h.rotated("finishSecret again", arns["BY_RETRY"], "BY_RETRY", tokens["BY_RETRY"], from["BY_RETRY"])
	sweeper := h.run("scheduler", h.scheduler(time.Second))
	defer sweeper.stop()
	waittest.Until(t, "both versions are in the log once", func() error {
		for _, id := range []secret.ID{"BY_RETRY", "BY_SWEEP"} {
			if n := countVersion(logOf(t, h.nc, events.TypeRotated)[id], secret.VersionID(tokens[id])); n != 1 {
				return fmt.Errorf("%s stands %d times in the log", id, n)
			}
		}
		return nil
	})
}

// TestLambdaThaws: between two invocations the process is frozen, and its
// connection to the bus may be dead when it goes on.
func TestLambdaThaws(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "lambda: {nats_timeout: 10s}\n")
	arn := h.make("frozen", firstValue)
	for range 3 {
		from, token := h.current(arn), h.begin(arn, true)
		if err := h.drive(arn, token); err != nil {
			t.Fatal(err)
		}
		h.rotated("thawed", arn, "frozen", token, from)
		h.calls.cut()
	}
	if n := h.fn.Starts(); n != 1 || strings.Contains(h.fn.Output(), "lambda.nats_") {
		t.Errorf("%d processes:\n%s", n, h.fn.Output())
	}
}

// TestLambdaReachesServices rotates through the function while a service runs:
// it reloads in place and the rollout converges.
func TestLambdaReachesServices(t *testing.T) {
	t.Parallel()
	for _, rollout := range []secret.RolloutMode{secret.RolloutActivate, secret.RolloutPrepare} {
		t.Run(string(rollout), func(t *testing.T) {
			t.Parallel()
			spec := secret.Spec{ID: "SERVED", Store: "embedded", Path: "served", Services: []string{"api", "reports"}, Rollout: rollout}
			h := newHosted(t, "", spec)
			arn := h.make("served", firstValue)
			from := h.current(arn)
			notifier := h.run("notifier", h.notifier())
			defer notifier.stop()
			m := h.service(t, spec)
			python := h.pythonService(t, "reports", spec)
			defer python.stop()
			token := h.begin(arn, true)
			if err := h.drive(arn, token); err != nil {
				t.Fatalf("%v\n%s", err, h.fn.Output())
			}
			h.rotated("served", arn, "SERVED", token, from)
			waittest.Until(t, "both services use the new version", func() error {
				cur, err := m.Get(t.Context(), "SERVED")
				if err != nil || cur.Version.ID != secret.VersionID(token) {
					return fmt.Errorf("the service runs %s: %w", cur.Version.ID, err)
				}
				last, err := h.site.bus(h.nc, "test").Last(t.Context(), events.TypeRollout, "SERVED")
				if err != nil {
					return err
				}
				if d := last.Event.Data; d.VersionID != secret.VersionID(token) || d.Rollout == nil || d.Rollout.State != events.RolloutConverged || d.Rollout.Applied != 2 {
					return fmt.Errorf("the rollout is %+v", d.Rollout)
				}
				return nil
			})
		})
	}
}

// pythonService starts a service in Python that uses a secret, and waits until
// it is heard of.
func (h *hosted) pythonService(t *testing.T, name string, s secret.Spec) *pythonService {
	t.Helper()
	p := startPython(t, name, map[string]string{
		"ROTATOR_STORE": "aws", string(s.ID): s.StorePath(), "AWS_ENDPOINT_URL": h.backend.URL, "AWS_REGION": "eu-central-1",
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"ROTATOR_NATS_URL": h.broker.server.Load().ClientURL(), "ROTATOR_TRUSTED_KEYS": filepath.Join(filepath.Dir(h.config), "key.pub"),
	}, s.ID)
	bus := h.site.bus(h.nc, "test")
	waittest.Until(t, "the service in Python reports", func() error {
		users, err := live(t.Context(), bus, s.ID)
		if err != nil || !slices.ContainsFunc(users, func(u events.User) bool { return u.Use.Instance == pythonInstance }) {
			return fmt.Errorf("it is not on record, err %w; it said:\n%s", err, p.log.String())
		}
		return nil
	})
	return p
}

// service starts a service that uses the secrets.
func (h *hosted) service(t *testing.T, specs ...secret.Spec) *client.Manager {
	t.Helper()
	nc := h.broker.connect()
	ids := make([]secret.ID, len(specs))
	for i, s := range specs {
		ids[i] = s.ID
	}
	m, err := client.New(t.Context(), client.Config{Service: "api", Source: h.catalog(nc).source, IDs: ids, Bus: h.site.bus(nc, "api"), Logger: h.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		nc.Close()
	})
	return m
}
