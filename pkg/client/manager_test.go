package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

const (
	key   = secret.ID("TRADEPULSE_AUDIT_SECRET_ID")
	token = secret.ID("TRADEPULSE_ADMIN_TOKEN_ID")
)

// rig is a store with two secrets and a bus.
type rig struct {
	t      *testing.T
	server *eventstest.Server
	bus    *events.Bus
	mem    *storetest.Mem
	source client.Source
	reads  atomic.Int64
	down   atomic.Bool
	fault  atomic.Pointer[error]
	seq    uint64
}

var quiet = slog.New(slog.DiscardHandler)

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, server: eventstest.NewServer(t), mem: storetest.NewMem(nil)}
	r.bus = r.server.NewBus(events.StreamOptions{})
	r.mem.Fault = func(op, _ string) error {
		if op == "get" {
			r.reads.Add(1)
		}
		if r.down.Load() {
			return fmt.Errorf("%w: the store is down", store.ErrUnavailable)
		}
		if err := r.fault.Load(); err != nil && op == "get" {
			return *err
		}
		return nil
	}
	st, err := store.New("mem", r.mem, &store.Options{Circuit: store.Circuit{Failures: -1}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r.source, err = client.FromSpecs([]*store.Store{st}, []secret.Spec{{ID: key, Store: "mem"}, {ID: token, Store: "mem"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// write makes a value current and returns its version.
func (r *rig) write(id secret.ID, value string) secret.VersionID {
	r.t.Helper()
	ctx := context.Background()
	var from secret.VersionID
	if m, err := r.mem.Describe(ctx, string(id)); err == nil {
		from = m.Current().ID
	}
	v, err := r.mem.Put(ctx, string(id), store.Write{Token: secret.NewToken(id, from, value, 0), From: from, Value: secret.NewValue([]byte(value)), Create: true})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.mem.Promote(ctx, string(id), from, v.ID); err != nil {
		r.t.Fatal(err)
	}
	return v.ID
}

// notify tells the service of a version.
func (r *rig) notify(id secret.ID, v secret.VersionID) {
	r.t.Helper()
	r.seq++
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: id, Store: "mem", VersionID: v, Reason: events.ReasonManual})
	// JetStream may take a while longer than the connection after a restart.
	r.eventually("the notification is stored", func() bool { return r.bus.Notify(context.Background(), "api", e, r.seq) == nil })
}

func (r *rig) manager(change func(*client.Config)) *client.Manager {
	r.t.Helper()
	cfg := client.Config{
		Service: "api", Instance: "one", Source: r.source, IDs: []secret.ID{key, token}, Bus: r.bus,
		PollInterval: -1, Retry: 50 * time.Millisecond, Logger: quiet,
	}
	if change != nil {
		change(&cfg)
	}
	m, err := client.New(r.t.Context(), cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			r.t.Errorf("close: %v", err)
		}
	})
	return m
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("it never happened that %s", what)
		}
		<-tick.C
	}
}

// users returns the records of a secret.
func (r *rig) users(id secret.ID) []events.User {
	r.t.Helper()
	f, err := r.bus.Fleet(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return f.Users
}

// running returns what an instance that has not ended has on record of the key.
func (r *rig) running() events.Running {
	r.t.Helper()
	for _, u := range r.users(key) {
		if !u.Presence.Ended {
			return u.Use.Running
		}
	}
	return events.Running{}
}

func value(c *client.Current) string { return string(c.Value.Reveal()) }

func TestEveryMissingSecretIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := client.New(t.Context(), client.Config{Service: "api", Source: r.source, IDs: []secret.ID{key, token, "NOT_CONFIGURED"}, Logger: quiet})
	for _, want := range []string{string(key), string(token), "NOT_CONFIGURED", "3 of 3", "write a first version", `store "mem"`, "add it under secrets"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestARotationArrivesWhileTheServiceRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	h := m.Secret(key)
	if value(h.Get()) != "first-value" || h.Get().Version.ID != v1 {
		t.Fatal("the first version is not in place")
	}
	var hooked atomic.Int32
	stop, err := m.Subscribe(t.Context(), key, func(context.Context, client.Change) error { hooked.Add(1); return nil })
	if err != nil || hooked.Load() != 1 {
		t.Fatalf("subscribing called the hook %d times, err %v", hooked.Load(), err)
	}
	defer stop()
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	r.eventually("the second version is in use", func() bool { return value(h.Get()) == "second-value" })
	if hooked.Load() != 2 {
		t.Errorf("the hook was called %d times, want 2", hooked.Load())
	}
	r.eventually("it is reported", func() bool { s := r.running(); return s.VersionID == v2 && s.Status == events.StatusApplied })
}

// TestANotificationCostsAtMostOneRead sends the same, an old and a forged
// notification: none of them changes anything.
func TestANotificationCostsAtMostOneRead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	r.eventually("the second version is in use", func() bool { return value(m.Secret(key).Get()) == "second-value" })
	before := r.reads.Load()
	r.notify(key, v2) // again
	stranger, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	forged := events.Rotated("/evil", time.Now(), events.Data{SecretID: key, VersionID: "forged"})
	if err := r.server.Bus(stranger, stranger).Notify(t.Context(), "api", forged, 99); err != nil {
		t.Fatal(err)
	}
	r.seq = 200
	replaced := events.Rotated("/test", time.Now().Add(-time.Minute), events.Data{SecretID: key, Store: "mem", VersionID: "replaced", Reason: events.ReasonManual})
	if err := r.bus.Notify(t.Context(), "api", replaced, r.seq); err != nil { // of a version that a newer one has replaced
		t.Fatal(err)
	}
	r.eventually("the odd one was looked at", func() bool { return r.reads.Load() > before })
	marker := r.write(token, "second-token")
	r.notify(token, marker)
	r.eventually("what came after arrived", func() bool { return value(m.Secret(token).Get()) == "second-token" })
	if got := r.reads.Load() - before; got > 2 {
		t.Errorf("%d reads for one odd and one real notification", got)
	}
	if value(m.Secret(key).Get()) != "second-value" {
		t.Error("the value changed")
	}
}

func TestABadNewValueKeepsTheOldOneWorking(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	var broken atomic.Bool
	stop, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		switch {
		case broken.Load() && string(c.Value.Reveal()) == "panic-value":
			panic(c.Value)
		case broken.Load():
			return errors.New("this service cannot use it")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, bad := range []string{"second-value", "panic-value"} {
		broken.Store(true)
		v := r.write(key, bad)
		r.notify(key, v)
		r.eventually("the failure is reported", func() bool { s := r.running(); return s.Status == events.StatusFailed && s.Wanted == v })
		if s := r.running(); strings.Contains(s.Reason, bad) || s.Reason == "" {
			t.Errorf("the report gives the reason %q", s.Reason)
		}
		if got := m.Secret(key).Get(); got.Version.ID == v {
			t.Error("the bad version is in use")
		}
		broken.Store(false)
		r.eventually("it recovers by itself", func() bool { s := r.running(); return s.Status == events.StatusApplied && s.VersionID == v })
	}
	if m.Secret(key).Get().Version.ID == v1 {
		t.Error("it never moved on")
	}
}

func TestReadsGoOnWhileStoreAndBusAreDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	v2 := r.write(key, "second-value")
	r.down.Store(true)
	r.notify(key, v2)
	r.eventually("the failed read is reported", func() bool { return r.running().Status == events.StatusFailed })
	if value(m.Secret(key).Get()) != "first-value" {
		t.Error("reads do not go on")
	}
	r.down.Store(false)
	r.eventually("it recovers", func() bool { return value(m.Secret(key).Get()) == "second-value" })

	r.server.Stop()
	v3 := r.write(key, "third-value")
	if value(m.Secret(key).Get()) != "second-value" {
		t.Error("reads do not go on without a bus")
	}
	r.server.Start()
	r.eventually("the bus is back", func() bool { return r.bus.Connected() })
	r.notify(key, v3)
	r.eventually("the missed rotation is picked up", func() bool { return value(m.Secret(key).Get()) == "third-value" })
}

func TestWithoutABusItPolls(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(func(c *client.Config) { c.Bus, c.PollInterval = nil, 50*time.Millisecond })
	r.write(key, "second-value")
	r.eventually("polling finds it", func() bool { return value(m.Secret(key).Get()) == "second-value" })
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	before := goleak.IgnoreCurrent()
	m, err := client.New(t.Context(), client.Config{Service: "api", Source: r.source, IDs: []secret.ID{key, token}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func TestCloseSaysThatTheProcessHasEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m, err := client.New(t.Context(), client.Config{Service: "api", Instance: "two", Source: r.source, IDs: []secret.ID{key, token}, Bus: r.bus, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r.eventually("it is reported", func() bool { return r.running().VersionID != "" })
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u := r.users(key); len(u) != 1 || !u[0].Presence.Ended || u[0].Use.VersionID == "" {
		t.Errorf("after closing the records are %+v", u)
	}
}
