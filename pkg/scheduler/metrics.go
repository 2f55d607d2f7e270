package scheduler

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/catalog"
)

// tally is what a complete sweep of one store counted.
type tally struct {
	at     time.Time
	result Result
}

// staleSweeps is after how many intervals without a sweep a process shows no
// secrets any more: the process that sweeps knows them better.
const staleSweeps = 3

// tallies calls show with what the last sweep of each store counted.
func (s *Scheduler) tallies(show func(store attribute.KeyValue, t *tally)) {
	for _, st := range s.stores {
		t := st.last.Load()
		if t != nil && time.Since(t.at) <= staleSweeps*s.cfg.SweepEvery {
			show(attribute.String("store", st.name), t)
		}
	}
}

// showSecrets observes what holds now, zeros too: an alert ends only once its gauge is
// zero.
func (s *Scheduler) showSecrets(ctx context.Context, o metric.Int64Observer) error {
	s.tallies(func(name attribute.KeyValue, t *tally) {
		now := s.current(ctx, t)
		for _, reason := range reasons {
			o.Observe(int64(now[reason]), metric.WithAttributes(name, attribute.String("reason", string(reason))))
		}
	})
	return nil
}

// showFindings observes the findings of the last sweep likewise: only a sweep reads tags.
func (s *Scheduler) showFindings(_ context.Context, o metric.Int64Observer) error {
	s.tallies(func(name attribute.KeyValue, t *tally) {
		for _, code := range catalog.Codes() {
			o.Observe(int64(t.result.Findings[code]), metric.WithAttributes(name, attribute.String("kind", string(code))))
		}
	})
	return nil
}
