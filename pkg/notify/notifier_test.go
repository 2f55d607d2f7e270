//go:build !race

package notify

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestNewRefusesWhatItCannotWorkWith(t *testing.T) {
	t.Parallel()
	empty, err := catalog.New(catalog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"no bus":                 {Catalog: empty},
		"no catalog":             {Bus: deaf{}},
		"a negative concurrency": {Bus: deaf{}, Catalog: empty, Concurrency: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(cfg); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestSnapshotShowsEverySecretInOrder(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		for _, id := range []secret.ID{"C", "A", "B"} {
			s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
			s.announce(id, "v2", "v1")
		}
		s.runs("api", "1", "v2", "A", "C")
		p := s.start().ready()
		s.becomes("A", "v2", rolling, converged)
		s.becomes("B", "v2", rolling)
		got := p.tracker.snapshot()
		ids := []secret.ID{}
		for _, st := range got {
			ids = append(ids, st.SecretID)
		}
		if !slices.Equal(ids, []secret.ID{"A", "B", "C"}) {
			t.Fatalf("got %v", ids)
		}
		a, b := got[0], got[1]
		if a.State != converged || a.Applied != 1 || a.BlockersTotal != 0 || !a.RetireAt.Equal(a.Since.Add(secret.DefaultGrace)) || a.PreviousVersionID != "v1" {
			t.Errorf("A is %+v", a)
		}
		if b.State != rolling || b.Applied != 0 || len(b.Blockers) != 1 || b.Blockers[0].Reason != events.BlockNoInstance || b.StartedAt.IsZero() {
			t.Errorf("B is %+v", b)
		}
	})
}

func TestMetrics(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		reader := metric.NewManualReader()
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Minute})
		s.runs("api", "1", "v1", id)
		s.runs("api", "2", "v1", id)
		s.runs("web", "1", "v1", "OTHER")
		s.start(func(cfg *Config) { cfg.MeterProvider = metric.NewMeterProvider(metric.WithReader(reader)) }).ready()
		s.announce(id, "v2", "v1")
		live(2 * time.Minute)
		s.becomes(id, "v2", rolling, stalled)
		m := collect(t, reader)
		for name, want := range map[string]int64{
			"rotator.rollouts state=stalled": 1, "rotator.rollouts state=rolling": 0,
			"rotator.instances service=api,state=live": 2, "rotator.instances service=web,state=live": 1,
			"rotator.notified service=api,type=secret.rotated":           1,
			"rotator.rollout.moves reason=deadline_passed,state=stalled": 1,
			"rotator.rollout.moves reason=announced,state=rolling":       1,
		} {
			if m[name] != want {
				t.Errorf("%s is %d, want %d", name, m[name], want)
			}
		}
		s.runs("api", "1", "v2", id)
		s.runs("api", "2", "v2", id)
		s.becomes(id, "v2", rolling, stalled, converged)
		m = collect(t, reader)
		if m["rotator.rollouts state=converged"] != 1 || m["rotator.rollouts state=stalled"] != 0 || m["rotator.rollout.duration"] != 1 {
			t.Errorf("got %v", m)
		}
	})
}

// TestMetricsNameSecrets, as they are when they are collected, and a bounded number.
func TestMetricsNameSecrets(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		reader := metric.NewManualReader()
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Minute})
		s.runs("api", "1", "v1", id)
		s.start(func(cfg *Config) {
			cfg.MeterProvider, cfg.SecretMetrics = metric.NewMeterProvider(metric.WithReader(reader)), 1
		}).ready()
		s.announce(id, "v2", "v1")
		live(2 * time.Minute)
		s.becomes(id, "v2", rolling, stalled)
		s.announce("OTHER", "v2", "v1")
		m := collect(t, reader)
		name := "rotator.secret.rollout secret.id=" + string(id) + ",state=stalled"
		if m[name] != 1 || m["rotator.secret.blockers secret.id="+string(id)] != 1 || m["rotator.secret.age "+string(id)] < 120 {
			t.Errorf("of a stalled rollout: %v", m)
		}
		s.runs("api", "1", "v2", id)
		s.becomes(id, "v2", rolling, stalled, converged)
		m = collect(t, reader)
		if m[name] != 0 || m["rotator.secret.blockers secret.id="+string(id)] != 0 {
			t.Errorf("of a converged rollout: %v", m)
		}
		for got := range m {
			if strings.Contains(got, "secret.id=OTHER") {
				t.Errorf("%s is beyond the bound", got)
			}
		}
	})
}

// collect returns the value of every instrument and set of attributes; of a
// histogram it is the count.
func collect(t *testing.T, r *metric.ManualReader) map[string]int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	points := func(name string, dps []metricdata.DataPoint[int64]) {
		for _, p := range dps {
			text := ""
			for _, kv := range p.Attributes.ToSlice() {
				text += "," + string(kv.Key) + "=" + kv.Value.String()
			}
			out[name+" "+text[1:]] = p.Value
		}
	}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				points(m.Name, d.DataPoints)
			case metricdata.Gauge[int64]:
				points(m.Name, d.DataPoints)
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					who, _ := p.Attributes.Value("secret.id")
					out[m.Name+" "+who.String()] = int64(p.Value)
				}
			case metricdata.Histogram[float64]:
				out[m.Name] = int64(d.DataPoints[0].Count)
			}
		}
	}
	return out
}
