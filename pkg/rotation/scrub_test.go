package rotation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

const canary = `Canary/9f31c7Zq"+Val!`

// quotingTarget is a target whose server quotes what it is sent, at one step.
type quotingTarget struct {
	target.ValueOnly

	step string
	why  error
}

func (quotingTarget) Propose(context.Context, target.Change) (secret.Value, error) {
	return secret.NewValue([]byte(canary)), nil
}

func (q quotingTarget) quote(ctx context.Context, step string, c target.Change) error {
	if step != q.step {
		return nil
	}
	v, err := c.Pending(ctx)
	if err != nil {
		return err
	}
	b, _ := json.Marshal(string(v.Reveal()))
	return fmt.Errorf("%w: ALTER ROLE app PASSWORD %s failed, near %.9q", q.why, b, v.Reveal())
}

func (q quotingTarget) Apply(ctx context.Context, c target.Change) (target.Ref, error) {
	return target.Ref{}, q.quote(ctx, "apply", c)
}

func (q quotingTarget) Verify(ctx context.Context, c target.Change) error {
	return q.quote(ctx, "verify", c)
}

// TestNoValueInAFailure: whatever step meets a server that quotes the value, it is in
// no error, log line, span, event or timer.
func TestNoValueInAFailure(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"create", "apply", "verify", "promote"} {
		for _, why := range []error{store.ErrInvalid, store.ErrUnavailable, target.ErrRejected} {
			t.Run(fmt.Sprintf("%s, %v", step, why), func(t *testing.T) {
				t.Parallel()
				var log bytes.Buffer
				spans := tracetest.NewInMemoryExporter()
				q := &quotingTarget{why: why}
				x := newRig(t, func(c *rotation.Config) {
					c.RetryBase, c.Logger = time.Hour, slog.New(slog.NewTextHandler(&log, nil))
					c.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
					c.TargetFor = func(context.Context, secret.Spec) (target.Target, error) { return q, nil }
				})
				q.step = step
				x.mem.Fault = func(op, _ string) error {
					if op == map[string]string{"create": "put", "promote": "promote"}[step] {
						return fmt.Errorf("%w: body was %q", why, canary)
					}
					return nil
				}
				d := events.Delivery{Event: events.Event{Type: events.TypeNearExpiry, Time: time.Now(), Data: events.Data{SecretID: "ID", VersionID: x.v1, Reason: events.ReasonManual}}}
				err := x.r.Handle(t.Context(), d)
				if err == nil {
					t.Fatal("it rotates")
				}
				if err := x.r.Retry(t.Context(), d, err); err != nil {
					t.Fatal(err)
				}
				said := map[string]string{"the error": fmt.Sprintf("%v %+v %#v", err, err, err), "the log": log.String()}
				for _, s := range spans.GetSpans() {
					said["a span"] += fmt.Sprintf("%v %v %v", s.Status, s.Attributes, s.Events)
				}
				last, err := x.bus.Last(t.Context(), events.TypeRotationFailed, "ID")
				if err != nil {
					t.Fatal(err)
				}
				timer, err := x.bus.Timer(t.Context(), events.TypeNearExpiry, "ID")
				if err != nil || timer.Event.Data.Failure == nil {
					t.Fatalf("no retry is armed: %v", err)
				}
				event, _ := json.Marshal([]events.Data{last.Event.Data, timer.Event.Data})
				said["an event"] = string(event)
				for what, text := range said {
					if strings.Contains(text, "9f31c7") || strings.Contains(text, "Canary") {
						t.Errorf("%s holds the value", what)
					}
				}
				if strings.Contains(said["an event"], "body was") || strings.Contains(said["an event"], "ALTER ROLE") {
					t.Error("an event has the text of a server")
				}
			})
		}
	}
}
