package health

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/events"
)

func (m *Monitor) instruments(meter metric.Meter) error {
	i := telemetry.New(meter)
	i.Observable("rotator.bus.unwritable", "{stream}", "1 if nothing can be published to a stream, else 0, by stream.", m.show(func(h events.StreamHealth) int64 {
		if h.Err != nil {
			return 1
		}
		return 0
	}))
	i.Observable("rotator.bus.replicas.missing", "{replica}", "Replicas of a stream that are not current, by stream.", m.show(func(h events.StreamHealth) int64 {
		return int64(h.Missing)
	}))
	i.Observable("rotator.bus.used", "%", "How much of its bound in bytes or messages a stream has taken, by stream; none without a bound.", m.show(used))
	i.ObservableTime("rotator.bus.clock.skew", "s", "By how much the clocks of the servers are ahead of this process's; negative if they are behind.", m.showSkew)
	if m.cfg.Dir != "" {
		i.Observable("rotator.disk.used", "%", "How much of its disk is taken where the embedded server keeps its streams.", m.showDisk)
	}
	return i.Err()
}

// unknown is a number that is not shown.
const unknown = -1

func used(h events.StreamHealth) int64 {
	return max(percent(h.Bytes, h.MaxBytes), percent(h.Messages, h.MaxMessages))
}

func percent(n, bound int64) int64 {
	if bound <= 0 {
		return unknown
	}
	return 100 * n / bound
}

// show observes a number of each stream.
func (m *Monitor) show(number func(events.StreamHealth) int64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, h := range m.state.streams {
			if n := number(h); n != unknown {
				o.Observe(n, metric.WithAttributes(attribute.String("stream", h.Stream)))
			}
		}
		return nil
	}
}

// showSkew observes the skew that differs most from zero: the streams of a cluster are
// led by different servers.
func (m *Monitor) showSkew(_ context.Context, o metric.Float64Observer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if skew, known := worst(m.state.streams); known {
		o.Observe(skew.Seconds())
	}
	return nil
}

func (m *Monitor) showDisk(_ context.Context, o metric.Int64Observer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.disk.known {
		o.Observe(m.state.disk.used)
	}
	return nil
}
