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

// benchRecords has the tracker hear of an instance that runs v1 of 100 secrets.
func benchRecords(t *tracker, instance int, reason string) {
	for i := range 100 {
		_ = t.recorded(benchUse(instance, i, reason)) // never fails
	}
	_ = t.recorded(benchPresence(instance))
}

// BenchmarkOneUse is what the record of one use costs while
// 10,000 instances use 100 secrets each, all of which roll out: the record, and
// the pass after it.
func BenchmarkOneUse(b *testing.B) {
	t := bareTracker(b)
	for i := range 100 {
		t.roll(secret.ID(fmt.Sprintf("SECRET_%03d", i)), rolling)
	}
	before := inUse()
	for i := range 10_000 {
		benchRecords(t, i, "")
	}
	perUse := float64(inUse()-before) / 1e6
	t.pass(b.Context())
	uses := []events.FleetEvent{benchUse(0, 0, ""), benchUse(0, 0, "changed")}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		_ = t.recorded(uses[n%2]) // never fails
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

// BenchmarkReports is what folding one report costs while 100,000 instances use
// one secret each, and what it costs in memory to know one of them. The rollouts that
// changed are decided after each gather, which at 10,000 reports a second is after
// every 500.
func BenchmarkReports(b *testing.B) {
	const instances, perPass = 100_000, 500
	t := bareTracker(b)
	for i := range 100 {
		t.roll(secret.ID(fmt.Sprintf("SECRET_%03d", i)), rolling)
	}
	before := inUse()
	for i := range instances {
		_ = t.recorded(benchUse(i, i%100, "")) // never fails
		_ = t.recorded(benchPresence(i))
	}
	perInstance := float64(inUse()-before) / instances
	t.pass(b.Context())
	reasons := [2]string{"changed", ""}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		i := n % instances
		_ = t.recorded(benchUse(i, i%100, reasons[n/instances%2]))
		if n++; n%perPass == 0 {
			for _, due := range t.due(time.Now()) {
				t.decide(time.Now(), due)
			}
		}
	}
	perSecond := float64(n) / b.Elapsed().Seconds()
	b.ReportMetric(perSecond, "reports/s")
	b.ReportMetric(perSecond/10_000, "of-10000/s")
	b.ReportMetric(perInstance, "B/instance")
}

// BenchmarkRenewal is what the renewal of a presence costs.
func BenchmarkRenewal(b *testing.B) {
	t := bareTracker(b)
	benchRecords(t, 0, "")
	e := benchPresence(0)
	b.ReportAllocs()
	for b.Loop() {
		_ = t.recorded(e) // never fails
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
