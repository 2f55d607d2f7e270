package client

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/telemetry"
)

// gauges registers the metrics that are computed when they are collected: the age of
// each version in use, the time to its end, and the reads until now. The returned
// function ends that.
func (m *Manager) gauges(meter metric.Meter) (stop func(), err error) {
	i := telemetry.New(meter)
	age := i.ObservableTime("secret.age", "s", "Time since the version in use was made.")
	left := i.ObservableTime("secret.time_to_expiry", "s", "Time to the end of the version in use, negative after it; none for a version without an end.")
	if err := i.Err(); err != nil {
		return nil, err
	}
	reg, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		now := time.Now()
		for _, e := range m.entries() {
			e.meter(ctx)
			cur := e.current.Load()
			if cur == nil {
				continue // it is not loaded yet
			}
			id := metric.WithAttributes(attrID(e.id))
			if !cur.Version.CreatedAt.IsZero() {
				o.ObserveFloat64(age, now.Sub(cur.Version.CreatedAt).Seconds(), id)
			}
			if !cur.NotAfter.IsZero() {
				o.ObserveFloat64(left, cur.NotAfter.Sub(now).Seconds(), id)
			}
		}
		return nil
	}, age, left)
	if err != nil {
		return nil, err
	}
	return func() { _ = reg.Unregister() }, nil
}
