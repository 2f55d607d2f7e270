package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// TestTheGaugeForgets holds the gauge of secrets to what an alert needs: what is
// over goes back to zero, and a process that does not sweep any more says
// nothing.
func TestTheGaugeForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		main := &storeState{name: "main"}
		s := &Scheduler{cfg: Config{SweepEvery: time.Minute}, stores: []*storeState{main}}
		if err := s.instruments(metric.NewMeterProvider(metric.WithReader(reader)).Meter(scope)); err != nil {
			t.Fatal(err)
		}
		main.last.Store(&tally{time.Now(), Result{Secrets: map[Reason]int{ReasonExpired: 1}}})
		if got, ok := expired(t, reader); !ok || got != 1 {
			t.Errorf("got %d expired, %t, want 1", got, ok)
		}
		main.last.Store(&tally{time.Now(), Result{Secrets: map[Reason]int{ReasonScheduled: 1}}})
		if got, ok := expired(t, reader); !ok || got != 0 {
			t.Errorf("got %d expired, %t, after it was mended; want 0", got, ok)
		}
		time.Sleep(staleSweeps*time.Minute + time.Second)
		if got, ok := expired(t, reader); ok {
			t.Errorf("got %d expired from a process that does not sweep", got)
		}
	})
}

// expired returns what the gauge says of expired secrets, and false when it
// says nothing.
func expired(t *testing.T, r metric.Reader) (int64, bool) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if g, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == "rotator.secrets" {
				for _, p := range g.DataPoints {
					if v, _ := p.Attributes.Value("reason"); v.AsString() == string(ReasonExpired) {
						return p.Value, true
					}
				}
			}
		}
	}
	return 0, false
}
