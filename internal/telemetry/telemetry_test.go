package telemetry

import (
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace/noop"
)

func TestNilIsReplaced(t *testing.T) {
	t.Parallel()
	if Logger(nil) != slog.Default() || Meters(nil) != otel.GetMeterProvider() || Tracers(nil) != otel.GetTracerProvider() {
		t.Error("nil is not the default")
	}
	log, meters, tracers := slog.New(slog.DiscardHandler), sdkmetric.NewMeterProvider(), noop.NewTracerProvider()
	if Logger(log) != log || Meters(meters) != meters || Tracers(tracers) != tracers {
		t.Error("what is configured was replaced")
	}
}

func TestInstruments(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	i := New(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"))
	i.Counter("a.counter", "{event}", "Events.").Add(t.Context(), 1)
	i.UpDownCounter("an.updown", "{event}", "Events.").Add(t.Context(), -1)
	i.Histogram("a.histogram", "s", "Times.").Record(t.Context(), 1)
	i.Gauge("a.gauge", "{state}", "States.").Record(t.Context(), 1)
	if err := i.Err(); err != nil {
		t.Fatal(err)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		got[m.Name] = m.Unit + " " + m.Description
	}
	for name, want := range map[string]string{"a.counter": "{event} Events.", "an.updown": "{event} Events.", "a.histogram": "s Times.", "a.gauge": "{state} States."} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	i.Counter("1 wrong name", "s", "")
	i.Observable("another wrong name", "s", "")
	if err := i.Err(); err == nil || strings.Count(err.Error(), "wrong name") != 2 {
		t.Errorf("got %v, want an error of each", err)
	}
}
