package scheduler_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// shop is a store in memory whose lists can be tampered with.
type shop struct {
	*storetest.Mem
	mu    sync.Mutex
	calls map[string]int
	list  func(iter.Seq2[secret.Metadata, error]) iter.Seq2[secret.Metadata, error]
}

func newShop() *shop {
	s := &shop{Mem: storetest.NewMem(nil), calls: map[string]int{}}
	s.Fault = func(op, _ string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls[op]++
		return nil
	}
	return s
}

func (s *shop) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	if s.list != nil {
		return s.list(s.Mem.List(ctx))
	}
	return s.Mem.List(ctx)
}

// take returns the calls since it was last asked.
func (s *shop) take() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = map[string]int{}
	return calls
}

// put makes a secret with one version and tags.
func (s *shop) put(t *testing.T, path string, tags ...string) {
	t.Helper()
	token := secret.NewToken(secret.ID(path), "", "test", 0)
	v, err := s.Put(t.Context(), path, store.Write{Token: token, Value: secret.NewValue([]byte("value")), Create: true})
	if err == nil {
		err = s.Promote(t.Context(), path, "", v.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.tag(path, tags...)
}

func (s *shop) tag(path string, tags ...string) {
	attrs := map[string]string{}
	for _, tag := range tags {
		key, value, _ := strings.Cut(tag, "=")
		attrs["rotator:"+key] = value
	}
	s.SetAttributes(path, attrs)
}

// mall is some stores in which secrets are discovered, and a scheduler.
type mall struct {
	t       *testing.T
	srv     *eventstest.Server
	bus     *events.Bus
	catalog *catalog.Catalog
	stores  *store.Set
	log     *bytes.Buffer
	metrics *sdkmetric.ManualReader
	s       *scheduler.Scheduler
}

func newMall(t *testing.T, specs []secret.Spec, shops map[string]*shop) *mall {
	t.Helper()
	m := &mall{t: t, srv: eventstest.NewServer(t), log: &bytes.Buffer{}}
	m.bus = m.srv.NewBus(events.StreamOptions{Memory: true})
	m.stores = new(store.Set)
	var discoveries []*catalog.Discovery
	quiet := slog.New(slog.DiscardHandler)
	for name, s := range shops {
		st, err := store.New(name, s, &store.Options{Logger: quiet})
		if err == nil {
			err = m.stores.Add(st)
		}
		if err != nil {
			t.Fatal(err)
		}
		discoveries = append(discoveries, &catalog.Discovery{Store: name, Match: map[string]string{catalog.TagManaged: ""}, Defaults: secret.Spec{TTL: 24 * time.Hour}})
	}
	var err error
	if m.catalog, err = catalog.New(catalog.Config{Stores: m.stores, Specs: specs, Discoveries: discoveries}); err != nil {
		t.Fatal(err)
	}
	m.restart()
	return m
}

// restart replaces the scheduler by one that remembers nothing.
func (m *mall) restart() {
	m.t.Helper()
	m.metrics = sdkmetric.NewManualReader()
	var err error
	m.s, err = scheduler.New(scheduler.Config{
		Catalog: m.catalog, Stores: m.stores, Bus: m.bus, Source: "/test", Logger: slog.New(slog.NewTextHandler(m.log, nil)),
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(m.metrics)),
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *mall) sweep() scheduler.Result {
	m.t.Helper()
	r, err := m.s.Sweep(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// armed returns the secrets that have a timer.
func (m *mall) armed() []string {
	m.t.Helper()
	keys, err := m.bus.ArmedKeys(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	var out []string
	for key := range keys {
		id, err := secret.IDFromKey(key)
		if err != nil {
			m.t.Fatal(err)
		}
		out = append(out, string(id))
	}
	slices.Sort(out)
	return out
}

func (m *mall) wantArmed(want ...string) {
	m.t.Helper()
	if got := m.armed(); !slices.Equal(got, want) {
		m.t.Errorf("armed are %q, want %q", got, want)
	}
}

// until waits until these are armed.
func (m *mall) until(want ...string) {
	m.t.Helper()
	waittest.Until(m.t, fmt.Sprintf("%q are armed", want), func() error {
		if got := m.armed(); !slices.Equal(got, want) {
			return fmt.Errorf("armed are %q", got)
		}
		return nil
	})
}

// where returns the place that the log says a discovered secret has, "" for one
// that is gone.
func (m *mall) where(id secret.ID) string {
	m.t.Helper()
	last, err := m.bus.Last(m.t.Context(), events.TypeDiscovered, id)
	if err != nil {
		m.t.Fatal(err)
	}
	spec, ok := last.Event.Data.Spec()
	if !ok {
		return ""
	}
	return spec.Store + ":" + spec.Path
}

// gauge returns the value of a gauge where an attribute has a value.
func (m *mall) gauge(name, key, value string) int64 {
	m.t.Helper()
	var all metricdata.ResourceMetrics
	if err := m.metrics.Collect(m.t.Context(), &all); err != nil {
		m.t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, one := range scope.Metrics {
			data, ok := one.Data.(metricdata.Gauge[int64])
			if !ok || one.Name != name {
				continue
			}
			for _, p := range data.DataPoints {
				if v, _ := p.Attributes.Value(attribute.Key(key)); v.AsString() == value {
					return p.Value
				}
			}
		}
	}
	m.t.Fatalf("there is no %s with %s=%s", name, key, value)
	return 0
}
