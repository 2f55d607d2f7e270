package notify

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/telemetry"
)

// DefaultSecretMetrics is [Config.SecretMetrics] unless a configuration says otherwise.
const DefaultSecretMetrics = 1000

// secretInstruments are the metrics that name a secret. They show what is known when
// they are collected, of the first so many secrets: the number of series is bounded.
type secretInstruments struct {
	age, left       metric.Float64ObservableGauge
	state, blockers metric.Int64ObservableGauge
}

func newSecretInstruments(made *telemetry.Instruments) (i secretInstruments) {
	i.age = made.ObservableTime("rotator.secret.age", "s", "Time since the current version of a secret was announced.")
	i.left = made.ObservableTime("rotator.secret.time_to_expiry", "s", "Time to the end of the current version of a secret, negative after it; none without an end.")
	i.state = made.Observable("rotator.secret.rollout", "1", "1 for the state of the rollout of a secret.")
	i.blockers = made.Observable("rotator.secret.blockers", "{instance}", "Instances and services that hold up the rollout of a secret.")
	return i
}

// meterSecret gives a secret series of its own if there are some left; t.mu is held.
func (t *tracker) meterSecret(tr *tracked) {
	if len(t.metered) < t.secretMetrics {
		t.metered = append(t.metered, tr)
	}
}

// showSecrets observes the secrets that have series; t.mu is held.
func (t *tracker) showSecrets(o metric.Observer, i secretInstruments, now time.Time) {
	for _, tr := range t.metered {
		id := attribute.String("secret.id", string(tr.rollout.SecretID))
		one := metric.WithAttributes(id)
		if !tr.made.IsZero() {
			o.ObserveFloat64(i.age, now.Sub(tr.made).Seconds(), one)
		}
		if !tr.notAfter.IsZero() {
			o.ObserveFloat64(i.left, tr.notAfter.Sub(now).Seconds(), one)
		}
		o.ObserveInt64(i.state, 1, metric.WithAttributes(id, attribute.String("state", string(shown(tr.rollout)))))
		blocking := 0
		if f, _ := t.summaryFacts(now, tr); len(f.Blocking) > 0 {
			blocking = len(t.fullFacts(now, f, tr).Blocking)
		}
		o.ObserveInt64(i.blockers, int64(blocking), one)
	}
}

// watchedSecrets is the callback of the metrics that name a secret.
func (t *tracker) watchedSecrets(i secretInstruments) metric.Callback {
	return func(_ context.Context, o metric.Observer) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.showSecrets(o, i, t.clock.now())
		return nil
	}
}
