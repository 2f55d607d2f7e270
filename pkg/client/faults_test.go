package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/store"
)

// line is a way to the server that can be cut.
type line struct {
	server *eventstest.Server
	cut    atomic.Bool
	last   atomic.Pointer[net.Conn]
}

// InProcessConn implements [nats.InProcessConnProvider].
func (l *line) InProcessConn() (net.Conn, error) {
	if l.cut.Load() {
		return nil, errors.New("the line is cut")
	}
	c, err := l.server.InProcessConn()
	if err == nil {
		l.last.Store(&c)
	}
	return c, err
}

func (l *line) drop() {
	l.cut.Store(true)
	_ = (*l.last.Load()).Close() // what was in flight is lost
}

// bus returns a bus of the service's own on the line.
func (l *line) bus(r *rig) *events.Bus {
	r.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(l), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	b, err := events.New(nc, events.Config{Source: "/service", Verifier: events.NewVerifier(r.server.Signer.Public()), Logger: quiet})
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// TestAMissedRotationIsPickedUp: what was announced while the service had no
// connection is known after it has come back, without another announcement.
func TestAMissedRotationIsPickedUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	l := &line{server: r.server}
	bus := l.bus(r)
	m := r.manager(func(c *client.Config) { c.Bus = bus })
	r.eventually("it is reported", func() bool { return r.running().VersionID != "" })
	l.drop()
	r.eventually("the connection is lost", func() bool { return !bus.Connected() })
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	for _, later := range []string{"second-token", "third-token"} { // which lets a server that lags by so many messages show v2
		r.notify(token, r.write(token, later))
	}
	if value(m.Secret(key).Get()) != "first-value" {
		t.Error("a notification came through a line that is cut")
	}
	l.cut.Store(false)
	r.eventually("the missed rotation is picked up", func() bool { return value(m.Secret(key).Get()) == "second-value" })
	r.eventually("it is reported again", func() bool { return r.running().VersionID == v2 })
}

// TestAServiceThatStartsLateHasTheNewest: also when what was announced last has
// been replaced since.
func TestAServiceThatStartsLateHasTheNewest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(token, "first-token")
	v1 := r.write(key, "first-value")
	r.notify(key, v1)
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	v3 := r.write(key, "third-value")
	m := r.manager(nil)
	r.eventually("it is reported", func() bool { return r.running().VersionID == v3 })
	if value(m.Secret(key).Get()) != "third-value" {
		t.Error("the process began with an old value")
	}
}

// TestReloadsFailAndRecover: whatever keeps the new version away, the old one
// serves, the report has the reason, and no operator has to act.
func TestReloadsFailAndRecover(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{
		"store down":    fmt.Errorf("%w: the store is down", store.ErrUnavailable),
		"access denied": fmt.Errorf("%w: no permission to read", store.ErrAccessDenied),
		"throttled":     fmt.Errorf("%w: slow down", store.ErrThrottled),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			v1 := r.write(key, "first-value")
			r.write(token, "first-token")
			m := r.manager(nil)
			v2 := r.write(key, "second-value")
			r.fault.Store(&cause)
			r.notify(key, v2)
			// A read at the start may fail first: it does not know of the new version.
			r.eventually("the failure to load the new version is reported", func() bool { s := r.running(); return s.Status == events.StatusFailed && s.Wanted == v2 })
			if s := r.running(); s.VersionID != v1 || !strings.Contains(s.Reason, cause.Error()) {
				t.Errorf("the report says %+v", s)
			}
			if value(m.Secret(key).Get()) != "first-value" {
				t.Error("the old value does not serve")
			}
			r.fault.Store(nil)
			r.eventually("it recovers", func() bool { s := r.running(); return s.Status == events.StatusApplied && s.VersionID == v2 })
			if value(m.Secret(key).Get()) != "second-value" {
				t.Error("the report is ahead of the value")
			}
		})
	}
}

// TestAFailureDoesNotTellTheValue: a hook passes on an error that quotes the
// credentials that it was given.
func TestAFailureDoesNotTellTheValue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	var log waittest.Buffer
	m := r.manager(func(c *client.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	_, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		if text := string(c.Value.Reveal()); text != "first-value" {
			return fmt.Errorf("cannot parse `postgres://user:%s@db`", text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.notify(key, r.write(key, "second-value"))
	r.eventually("the failure is reported", func() bool { return r.running().Status == events.StatusFailed })
	if s := r.running().Reason + log.String(); strings.Contains(s, "second-value") || !strings.Contains(s, "user:[redacted]@db") {
		t.Errorf("the report and the log say %s", s)
	}
}

// TestNotificationsForOthersAreNotHeard: of another service, and of a secret
// that this one does not hold.
func TestNotificationsForOthersAreNotHeard(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	v2 := r.write(key, "second-value")
	before := r.reads.Load()
	other := events.Rotated("/test", time.Now(), events.Data{SecretID: key, Store: "mem", VersionID: v2, Reason: events.ReasonManual})
	if err := r.bus.Notify(t.Context(), "other", other, 1); err != nil {
		t.Fatal(err)
	}
	r.notify("NOT_HELD", "some-version")
	marker := r.write(token, "second-token")
	r.notify(token, marker)
	r.eventually("what came after arrived", func() bool { return value(m.Secret(token).Get()) == "second-token" })
	if n := r.reads.Load() - before; n != 1 {
		t.Errorf("%d reads, want the one of the notification that was meant", n)
	}
	if value(m.Secret(key).Get()) != "first-value" {
		t.Error("another service's notification was taken")
	}
}

// TestAReplayCostsNothing: a genuine notification of a version that is not
// current, again and again, as an attacker could send it who has recorded it.
func TestAReplayCostsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	before := r.reads.Load()
	old := events.Rotated("/test", time.Now().Add(-time.Hour), events.Data{SecretID: key, Store: "mem", VersionID: "long-gone", Reason: events.ReasonManual})
	for i := range uint64(20) {
		if err := r.bus.Notify(t.Context(), "api", old, i+1); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			r.eventually("it was looked at once", func() bool { return r.reads.Load() == before+1 })
		}
	}
	marker := r.write(token, "second-token")
	r.notify(token, marker)
	r.eventually("what came after arrived", func() bool { return value(m.Secret(token).Get()) == "second-token" })
	if n := r.reads.Load() - before; n != 2 {
		t.Errorf("%d reads for one notification that was sent 20 times, and another one", n)
	}
}

// TestAHookContinuesTheTraceOfTheAnnouncement: its context has the span of the
// reload, whose parent is the span that announced the version.
func TestAHookContinuesTheTraceOfTheAnnouncement(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	tracing := sdktrace.NewTracerProvider()
	m := r.manager(func(c *client.Config) { c.TracerProvider = tracing })
	seen := make(chan trace.TraceID, 2)
	_, err := m.Subscribe(t.Context(), key, func(ctx context.Context, _ client.Change) error {
		seen <- trace.SpanContextFromContext(ctx).TraceID()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-seen // of the subscription
	ctx, span := tracing.Tracer("test").Start(t.Context(), "announce")
	defer span.End()
	v := r.write(key, "second-value")
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: key, Store: "mem", VersionID: v, Reason: events.ReasonManual})
	if err := r.bus.Notify(ctx, "api", e, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := <-seen, span.SpanContext().TraceID(); got != want {
		t.Errorf("the hook is in trace %s, want %s", got, want)
	}
}

// TestAReplayDuringAnOutageCostsNothing: what failed is read again when its retry
// is due, however often the announcement is sent.
func TestAReplayDuringAnOutageCostsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(func(c *client.Config) { c.Retry = time.Minute })
	before := r.reads.Load()
	v := r.write(key, "second-value")
	r.fault.Store(new(fmt.Errorf("%w: the store is down", store.ErrUnavailable)))
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: key, Store: "mem", VersionID: v, Reason: events.ReasonManual})
	for i := range uint64(20) {
		if err := r.bus.Notify(t.Context(), "api", e, i+1); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			r.eventually("the failure is noted", func() bool { return m.Report().Secrets[1].Status == events.StatusFailed })
		}
	}
	r.fault.Store(nil)
	marker := r.write(token, "second-token")
	r.notify(token, marker)
	r.eventually("what came after arrived", func() bool { return value(m.Secret(token).Get()) == "second-token" })
	if n := r.reads.Load() - before; n != 2 {
		t.Errorf("%d reads for one announcement that was sent 20 times, and another one", n)
	}
}

// TestWithoutABusItSaysSo: polling only is a choice that shows in the log.
func TestWithoutABusItSaysSo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	var log waittest.Buffer
	r.manager(func(c *client.Config) { c.Bus, c.Logger = nil, slog.New(slog.NewTextHandler(&log, nil)) })
	if !strings.Contains(log.String(), "level=WARN msg=secret.poll_only") {
		t.Errorf("the log does not say it: %s", log.String())
	}
}
