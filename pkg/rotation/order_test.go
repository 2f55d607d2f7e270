package rotation_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/target"
)

// probe is a target that reads the store whenever it is called.
type probe struct {
	target.ValueOnly
	st      *store.Store
	calls   []string // :: step and the version that was current then
	refuses string   // the step that fails
}

func (p *probe) see(ctx context.Context, step string) error {
	m, err := p.st.Describe(ctx, "ID")
	if err != nil {
		return err
	}
	p.calls = append(p.calls, step+" "+string(m.Current().ID))
	if step == p.refuses {
		return target.ErrRejected
	}
	return nil
}

func (p *probe) Apply(ctx context.Context, _ target.Change) (target.Ref, error) {
	return target.Ref{}, p.see(ctx, "apply")
}

func (p *probe) Verify(ctx context.Context, _ target.Change) error { return p.see(ctx, "verify") }

// Revoke also notes the stage that the version has in the store.
func (p *probe) Revoke(ctx context.Context, r target.Ref, _ target.Drain) error {
	m, err := p.st.Describe(ctx, string(r.Secret))
	if err != nil {
		return err
	}
	v, _ := m.Version(r.Version)
	return p.see(ctx, "revoke "+string(r.Version)+" "+string(v.Stage))
}

// rig is a worker on a store in memory that holds one version.
type rig struct {
	r     *rotation.Rotator
	mem   *storetest.Mem
	st    *store.Store
	srv   *eventstest.Server
	bus   *events.Bus
	probe *probe
	v1    secret.VersionID
	spec  secret.Spec
}

func newRig(t *testing.T, change func(*rotation.Config)) *rig {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	srv := eventstest.NewServer(t)
	x := &rig{srv: srv, bus: srv.NewBus(events.StreamOptions{}), spec: secret.Spec{ID: "ID", Store: "mem", Services: []string{"api"}, Create: true, Fence: 1}}
	var err error
	x.mem = storetest.NewMem(nil)
	if x.st, err = store.New("mem", x.mem, &store.Options{Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	catalog, stores := rotation.Configured(t, x.st, x.spec)
	x.probe = &probe{st: x.st}
	cfg := rotation.Config{
		Catalog: catalog, Stores: stores, Bus: x.bus, Timers: x.bus, Source: "/test", Logger: quiet,
		TargetFor: func(context.Context, secret.Spec) (target.Target, error) { return x.probe, nil },
	}
	if change != nil {
		change(&cfg)
	}
	if x.r, err = rotation.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := x.rotate(t, ""); err != nil {
		t.Fatal(err)
	}
	x.v1, x.probe.calls = x.current(t), nil
	return x
}

func (x *rig) rotate(t *testing.T, from secret.VersionID) error {
	t.Helper()
	_, err := x.r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: from, Reason: events.ReasonManual}})
	return err
}

func (x *rig) retire(t *testing.T, order events.Data) error {
	t.Helper()
	return x.r.Handle(t.Context(), events.Delivery{Event: events.Event{Type: events.TypeRetire, Time: time.Now(), Data: order}})
}

// runs records a live instance that uses a version, and accepts no other one.
func (x *rig) runs(t *testing.T, instance string, v secret.VersionID, change ...func(*events.Use, *events.Presence)) {
	t.Helper()
	p := events.Presence{Service: "api", Instance: instance, Incarnation: instance, At: time.Now(), StartedAt: time.Now(), Lease: 3600}
	u := events.Use{
		Running: events.Running{SecretID: "ID", VersionID: v, Status: events.StatusApplied, At: time.Now()},
		Service: "api", Instance: instance, Incarnation: instance, Accepts: []secret.VersionID{}, PastFence: events.PastFenceServe, Joined: true,
	}
	for _, c := range change {
		c(&u, &p)
	}
	if _, err := x.bus.Join(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := x.bus.WriteUse(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

func (x *rig) current(t *testing.T) secret.VersionID {
	t.Helper()
	m, err := x.st.Describe(t.Context(), "ID")
	if err != nil {
		t.Fatal(err)
	}
	return m.Current().ID
}

// TestTheTargetComesFirst: a version becomes current after the target has taken
// it and it has been proven there, and one that was refused never does.
func TestTheTargetComesFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		refuses string
		calls   []string
	}{
		"taken and proven":         {"", []string{"apply", "verify"}},
		"refused when applied":     {"apply", []string{"apply"}},
		"refused when it is tried": {"verify", []string{"apply", "verify"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newRig(t, nil)
			x.probe.refuses = c.refuses
			err := x.rotate(t, x.v1)
			if promoted := x.current(t) != x.v1; promoted != (c.refuses == "") || (err == nil) != promoted {
				t.Errorf("promoted %t, err %v", promoted, err)
			}
			for i := range c.calls {
				c.calls[i] += " " + string(x.v1)
			}
			if !slices.Equal(x.probe.calls, c.calls) {
				t.Errorf("the target saw %v, want %v", x.probe.calls, c.calls)
			}
		})
	}
}

// TestAValueThatBreaksItsPolicyIsNotPromoted finds such a value as the pending
// version of the rotation.
func TestAValueThatBreaksItsPolicyIsNotPromoted(t *testing.T) {
	t.Parallel()
	x := newRig(t, nil)
	w := store.Write{Token: x.spec.Token(x.v1, 0), From: x.v1, Value: secret.NewValue([]byte("short"))}
	if _, err := x.st.Put(t.Context(), "ID", w); err != nil {
		t.Fatal(err)
	}
	if err := x.rotate(t, x.v1); !errors.Is(err, target.ErrRejected) {
		t.Errorf("err %v, want that it is rejected", err)
	}
	if now := x.current(t); now != x.v1 {
		t.Errorf("%s was promoted", now)
	}
}

// TestTheNextTryTakesTheSameValue: what an earlier try has written is promoted,
// not another value.
func TestTheNextTryTakesTheSameValue(t *testing.T) {
	t.Parallel()
	x := newRig(t, nil)
	value := secret.NewValue([]byte("Written-By-An-Earlier-Try-0815!!"))
	v, err := x.st.Put(t.Context(), "ID", store.Write{Token: x.spec.Token(x.v1, 0), From: x.v1, Value: value})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.rotate(t, x.v1); err != nil {
		t.Fatal(err)
	}
	now, got, err := x.st.Get(t.Context(), "ID", store.Selector{})
	if err != nil || now.ID != v.ID || !got.Equal(value) {
		t.Errorf("current is %s, want %s with its value, err %v", now.ID, v.ID, err)
	}
}

// TestAnOldOrderRetiresNothing: the order to retire what came before v1 comes
// again while v2 is current and every instance still runs v1.
func TestAnOldOrderRetiresNothing(t *testing.T) {
	t.Parallel()
	x := newRig(t, nil)
	if err := x.rotate(t, x.v1); err != nil {
		t.Fatal(err)
	}
	x.runs(t, "one", x.v1)
	if err := x.retire(t, events.Data{SecretID: "ID", Store: "mem", VersionID: x.v1, Reason: events.ReasonManual, OccurredAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.st.Get(t.Context(), "ID", store.Selector{Version: x.v1}); err != nil {
		t.Errorf("the version that every instance runs is gone: %v", err)
	}
}

// unheard is a bus on which nothing can be announced.
type unheard struct{ *events.Bus }

var errUnheard = errors.New("no listener")

func (unheard) Publish(context.Context, events.Event) error { return errUnheard }

// TestGivingUpIsCountedAndLogged: besides the event there is an error in the
// log and a count that says that it is final; and while the event cannot be
// published, the rotation is not given up.
func TestGivingUpIsCountedAndLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	reader := metric.NewManualReader()
	x := newRig(t, func(c *rotation.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.MeterProvider = metric.NewMeterProvider(metric.WithReader(reader))
	})
	x.mem.Fault = readOnly
	if err := x.rotate(t, x.v1); !events.IsPermanent(err) {
		t.Fatalf("err %v, want a permanent one", err)
	}
	if !strings.Contains(log.String(), "level=ERROR msg=secret.rotation_failed") {
		t.Error("the log has no error")
	}
	if n := final(t, reader); n != 1 {
		t.Errorf("counted %d final failures, want 1", n)
	}
	deaf := newRig(t, func(c *rotation.Config) { c.Bus = unheard{c.Bus.(*events.Bus)} })
	deaf.mem.Fault = readOnly
	if err := deaf.rotate(t, deaf.v1); events.IsPermanent(err) || !errors.Is(err, errUnheard) {
		t.Errorf("err %v, permanent %t; it was not announced", err, events.IsPermanent(err))
	}
}

func readOnly(string, string) error { return store.ErrReadOnly }

// final returns how many failures were counted as final.
func final(t *testing.T, r metric.Reader) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != "rotator.rotation.failures" {
				continue
			}
			for _, p := range sum.DataPoints {
				if v, _ := p.Attributes.Value("final"); v.AsBool() {
					n += p.Value
				}
			}
		}
	}
	return n
}
