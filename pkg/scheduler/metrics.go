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

// staleSweeps is after how many intervals a process that no sweep fell to says
// nothing of the secrets any more: another one knows them better.
const staleSweeps = 3

// tallies calls show with what the last sweep of each store counted.
func (s *Scheduler) tallies(show func(store attribute.KeyValue, r Result)) {
	for _, sh := range s.shelves {
		t := sh.last.Load()
		if t != nil && time.Since(t.at) <= staleSweeps*s.SweepEvery {
			show(attribute.String("store", sh.name), t.result)
		}
	}
}

// showSecrets has the gauge say what was counted, zeros too: an alert ends only
// when somebody says so.
func (s *Scheduler) showSecrets(_ context.Context, o metric.Int64Observer) error {
	s.tallies(func(name attribute.KeyValue, r Result) {
		for _, reason := range reasons {
			o.Observe(int64(r.Secrets[reason]), metric.WithAttributes(name, attribute.String("reason", string(reason))))
		}
	})
	return nil
}

// showProblems likewise.
func (s *Scheduler) showProblems(_ context.Context, o metric.Int64Observer) error {
	s.tallies(func(name attribute.KeyValue, r Result) {
		for _, code := range catalog.Codes() {
			o.Observe(int64(r.Findings[code]), metric.WithAttributes(name, attribute.String("kind", string(code))))
		}
	})
	return nil
}
