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
	"github.com/tradepulse/rotator/pkg/secret"
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
// serves, the report has the reason, and nobody has to do anything.
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
// current, again and again, as somebody could send it who has recorded it.
func TestAReplayCostsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	before := r.reads.Load()
	old := events.Rotated("/test", time.Now(), events.Data{SecretID: key, Store: "mem", VersionID: "long-gone", Reason: events.ReasonManual})
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

// TestStagingIsTriedAgain: a version that could not be loaded for verification
// is offered again, and forgotten when it is given up.
func TestStagingIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	var broken atomic.Bool
	broken.Store(true)
	_, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		if c.Staged && broken.Load() {
			return errors.New("not now")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stage := func(name string) secret.VersionID {
		t.Helper()
		v, err := r.mem.Put(t.Context(), string(key), store.Write{Token: secret.Token(name), From: v1, Value: secret.NewValue([]byte(name))})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		r.seq++
		e := events.Event{ID: name, Type: events.TypeStaged, Source: "/test", Time: now, Data: events.Data{SecretID: key, VersionID: v.ID, OccurredAt: now}}
		if err := r.bus.Notify(t.Context(), "api", e, r.seq); err != nil {
			t.Fatal(err)
		}
		return v.ID
	}
	next := stage("next")
	r.eventually("the failure is reported", func() bool { s := r.running(); return s.Status == events.StatusFailed && s.Wanted == next })
	if err := m.Refresh(t.Context(), key); err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("looking at the current version hides what failed: %v", err)
	}
	broken.Store(false)
	r.eventually("it is staged after all", func() bool { s := r.running(); return s.Status == events.StatusStaged && s.Wanted == next })

	broken.Store(true)
	if err := r.mem.Retire(t.Context(), string(key), next, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	after := stage("after")
	r.eventually("the failure is reported", func() bool { s := r.running(); return s.Status == events.StatusFailed && s.Wanted == after })
	if err := r.mem.Retire(t.Context(), string(key), after, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	r.eventually("what was given up is no failure", func() bool { s := r.running(); return s.Status == events.StatusApplied && s.VersionID == v1 })
}

// looked counts how often the current version is read.
type looked struct {
	client.Source

	n atomic.Int64
}

func (s *looked) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	if sel == (store.Selector{Primary: true}) {
		s.n.Add(1)
	}
	return s.Source.Read(ctx, id, sel)
}

// refusing returns a manager that has refused a staged version, and that version.
func (r *rig) refusing(change func(*client.Config)) (*client.Manager, secret.VersionID) {
	r.t.Helper()
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(change)
	_, err := m.Subscribe(r.t.Context(), key, func(_ context.Context, c client.Change) error {
		if c.Staged {
			return errors.New("not now")
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	next, err := r.mem.Put(r.t.Context(), string(key), store.Write{Token: "next", From: v1, Value: secret.NewValue([]byte("next"))})
	if err != nil {
		r.t.Fatal(err)
	}
	now := time.Now()
	e := events.Event{ID: "next", Type: events.TypeStaged, Source: "/test", Time: now, Data: events.Data{SecretID: key, VersionID: next.ID, OccurredAt: now}}
	if err := r.bus.Notify(r.t.Context(), "api", e, 1); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("the failure is reported", func() bool { s := r.running(); return s.Status == events.StatusFailed && s.Wanted == next.ID })
	return m, next.ID
}

// TestTheCurrentVersionIsLookedAtWhileAStagedOneIsRefused: its cached lifetime
// must not end because of the other.
func TestTheCurrentVersionIsLookedAtWhileAStagedOneIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	src := &looked{Source: r.source}
	r.refusing(func(c *client.Config) {
		c.Source, c.Lookup = src, lookup(map[string]string{string(key) + "_TTL_SECONDS": "1"})
	})
	before := src.n.Load()
	r.eventually("the current version is looked at", func() bool { return src.n.Load() > before })
}

// TestALookThatFailsForgetsNoStagedVersion: what is tried again next is that one.
func TestALookThatFailsForgetsNoStagedVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m, next := r.refusing(func(c *client.Config) { c.Retry = time.Minute })
	r.down.Store(true)
	if err := m.Refresh(t.Context(), key); err == nil || !strings.Contains(err.Error(), "the store is down") {
		t.Errorf("err %v", err)
	}
	if s := m.Report().Secrets[1]; s.SecretID != key || s.Wanted != next {
		t.Errorf("the report says %+v, want that it waits for %s", s, next)
	}
}

// TestRefreshAsksNow: for a service that was refused before it was notified.
func TestRefreshAsksNow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	before := r.reads.Load()
	v2 := r.write(key, "second-value")
	for range 3 {
		if err := m.Refresh(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.Secret(key).Get(); got.Version.ID != v2 || r.reads.Load() != before+1 {
		t.Errorf("version %s after %d reads, want %s after one", got.Version.ID, r.reads.Load()-before, v2)
	}
	r.fault.Store(new(fmt.Errorf("%w: no permission", store.ErrAccessDenied)))
	if err := m.Refresh(t.Context(), token); err == nil || !strings.Contains(err.Error(), "no permission") {
		t.Errorf("err %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.write(key, "third-value")
	r.eventually("a refresh is not too soon", func() bool { return m.Refresh(ended, key) != nil })
	if got := m.Secret(key).Get(); got.Version.ID != v2 {
		t.Errorf("a refresh whose context had ended took %s into use", got.Version.ID)
	}
	if err := m.Refresh(t.Context(), "NOT_HELD"); !errors.Is(err, client.ErrUnknown) {
		t.Errorf("err %v", err)
	}
}

// TestARefreshEndsWithItsContext: one that waits for a hook does not outlast its
// caller, and the reload goes on.
func TestARefreshEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	called, free := make(chan struct{}, 1), make(chan struct{})
	_, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		if string(c.Value.Reveal()) == "second-value" {
			called <- struct{}{}
			<-free
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.write(key, "second-value")
	ctx, cancel := context.WithCancel(t.Context())
	refreshed := make(chan error)
	go func() { refreshed <- m.Refresh(ctx, key) }()
	<-called
	cancel()
	if err := <-refreshed; !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	close(free)
	r.eventually("the reload goes on", func() bool { return value(m.Secret(key).Get()) == "second-value" })
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
