//go:build !race

package notify

import (
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// bareTracker returns a tracker without a bus that knows the secrets of the tests.
func bareTracker(b testing.TB) *tracker {
	b.Helper()
	specs := []secret.Spec{{ID: id, Store: "mem", Services: []string{"api"}}}
	for i := range 100 {
		specs = append(specs, secret.Spec{ID: secret.ID(fmt.Sprintf("SECRET_%03d", i)), Store: "mem", Services: []string{"api"}})
	}
	c, err := catalog.New(catalog.Config{Specs: specs})
	if err != nil {
		b.Fatal(err)
	}
	cfg := Config{Concurrency: 1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Catalog: c}
	m, err := newInstruments(noop.NewMeterProvider().Meter(scope))
	if err != nil {
		b.Fatal(err)
	}
	t := newTracker(cfg, m, tracenoop.NewTracerProvider().Tracer(scope))
	t.synced = time.Now()
	return t
}

// roll makes the tracker follow the rollout of v2, past its first event.
func (t *tracker) roll(id secret.ID, s events.RolloutState) {
	now := time.Now()
	t.changed(events.Announcement{Seq: 1, Event: events.Event{Data: events.Data{
		SecretID: id, Store: "mem", VersionID: "v2-0123-4567-89ab-cdef-0123456789ab", PreviousVersionID: "v1-0123-4567-89ab-cdef-0123456789ab",
		OccurredAt: now, Rollout: &events.Rollout{State: s, StartedAt: now, ConvergedAt: now, RetireAt: now.Add(time.Hour)},
	}}})
}

// benchReport returns what an instance reports that runs v1 of 100 secrets.
func benchReport(instance int) events.Report {
	r := events.Report{Service: "api", Instance: fmt.Sprintf("instance-%05d", instance)}
	for i := range 100 {
		r.Secrets = append(r.Secrets, events.Running{SecretID: secret.ID(fmt.Sprintf("SECRET_%03d", i)), VersionID: "v1", Status: events.StatusApplied})
	}
	return r
}

// BenchmarkOneReport is what one report that changes one secret costs while
// 10,000 instances use 100 secrets each, all of which roll out: the report, and
// the pass after it.
func BenchmarkOneReport(b *testing.B) {
	t := bareTracker(b)
	for i := range 100 {
		t.roll(secret.ID(fmt.Sprintf("SECRET_%03d", i)), rolling)
	}
	before := inUse()
	for i := range 10_000 {
		_ = t.reported(events.ReportEvent{Report: benchReport(i)}) // never fails
	}
	perUse := float64(inUse()-before) / 1e6
	t.pass(b.Context())
	reports := []events.Report{benchReport(0), benchReport(0)}
	reports[1].Secrets[0].Reason = "changed"
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		_ = t.reported(events.ReportEvent{Report: reports[n%2]}) // never fails
		due := t.due(time.Now())
		if len(due) != 1 {
			b.Fatalf("%d rollouts are looked at, want 1", len(due))
		}
		if d := t.decide(time.Now(), due[0]); len(d.actions) != 0 {
			b.Fatalf("got %+v", d.actions)
		}
	}
	b.ReportMetric(perUse, "B/use")
}

// BenchmarkRenewedReport is what a report costs that says what the one before
// said.
func BenchmarkRenewedReport(b *testing.B) {
	t := bareTracker(b)
	r := events.ReportEvent{Report: benchReport(0)}
	b.ReportAllocs()
	for b.Loop() {
		_ = t.reported(r) // never fails
	}
}

// BenchmarkTrackedSecret is what following one secret whose rollout has ended
// costs in time and memory.
func BenchmarkTrackedSecret(b *testing.B) {
	t := bareTracker(b)
	before := inUse()
	n := 0
	for b.Loop() {
		t.roll(secret.ID(fmt.Sprintf("tradepulse/prod/secret-%09d", n)), retired)
		n++
	}
	b.ReportMetric(float64(inUse()-before)/float64(n), "B/secret")
	runtime.KeepAlive(t)
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
