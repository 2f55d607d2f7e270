package store_test

import (
	"log/slog"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// clocked is a store with a clock of its own.
type clocked struct {
	*storetest.Mem
	store.Clock
}

// TestTheSkewOfAStoreIsMeasured by timely answers only, and shown after each call.
func TestTheSkewOfAStoreIsMeasured(t *testing.T) {
	t.Parallel()
	c := &clocked{Mem: storetest.NewMem(nil)}
	reader := sdkmetric.NewManualReader()
	s, err := store.New("main", c, &store.Options{Logger: slog.New(slog.DiscardHandler), MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	shown := func() (seconds []float64) {
		_, _ = s.Describe(t.Context(), "none")
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				if g, ok := m.Data.(metricdata.Gauge[float64]); ok && m.Name == "rotator.store.clock.skew" {
					for _, p := range g.DataPoints {
						seconds = append(seconds, p.Value)
					}
				}
			}
		}
		return seconds
	}
	if got := shown(); len(got) != 0 {
		t.Errorf("before any answer the skew is %v", got)
	}
	now := time.Now()
	c.Note(now.Add(10*time.Minute), now, now.Add(time.Millisecond))
	c.Note(now.Add(-time.Hour), now, now.Add(2*time.Second))
	if got := shown(); len(got) != 1 || got[0] < 599 || got[0] > 601 {
		t.Errorf("the skew is %v, want ten minutes", got)
	}
}
