package notify

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
)

// instruments are the metrics of a notifier. None has a label with a version or an
// instance, and only those of a bounded number of secrets name one: see
// [Config.SecretMetrics].
type instruments struct {
	meter metric.Meter
	// notified and moves count what this process did, not what the log says: their
	// sums over all notifiers are right.
	notified metric.Int64Counter
	moves    metric.Int64Counter
	duration metric.Float64Histogram
	// rollouts and instances are what every notifier sees alike: take the maximum of
	// them over notifiers, not the sum.
	rollouts  metric.Int64ObservableGauge
	instances metric.Int64ObservableGauge
	// contradicted counts events, not what the log had already.
	contradicted metric.Int64Counter
	secrets      secretInstruments
}

// newInstruments makes the instruments. The error says which of them could not be made.
func newInstruments(m metric.Meter) (*instruments, error) {
	made := telemetry.New(m)
	i := &instruments{meter: m}
	i.notified = made.Counter("rotator.notified", "{notification}", "Announcements handed to a service, by type and service.")
	i.moves = made.Counter("rotator.rollout.moves", "{move}", "Moves of rollouts that this process published, by state and reason.")
	i.duration = made.Histogram("rotator.rollout.duration", "s", "Time from the announcement of a version until every instance ran it.")
	i.rollouts = made.Observable("rotator.rollouts", "{rollout}", "Rollouts as this process sees them, by state.")
	i.instances = made.Observable("rotator.instances", "{instance}", "Instances as this process sees them, by service and state.")
	i.contradicted = made.Counter("rotator.proofs.contradicted", "{event}", "Signs that a version was retired although it was in use, by kind and service.")
	i.secrets = newSecretInstruments(made)
	return i, made.Err()
}

// moved records a published move. Only the notifier that won the race for it calls
// moved.
func (i *instruments) moved(ctx context.Context, r rollout.Rollout, why rollout.Reason) {
	i.moves.Add(ctx, 1, metric.WithAttributes(attribute.String("state", string(r.State)), attribute.String("reason", string(why))))
	if r.State == events.RolloutConverged && !r.StartedAt.IsZero() {
		i.duration.Record(ctx, max(r.ConvergedAt.Sub(r.StartedAt).Seconds(), 0))
	}
}

// observe has the gauges show what t sees until stop is called.
func (i *instruments) observe(t *tracker) (stop func() error, err error) {
	reg, err := i.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		for s, n := range t.states {
			o.ObserveInt64(i.rollouts, n, metric.WithAttributes(attribute.String("state", string(s))))
		}
		for s, states := range t.fleet.states {
			for state, n := range states {
				o.ObserveInt64(i.instances, int64(n), metric.WithAttributes(attribute.String("service", s), attribute.String("state", string(state))))
			}
		}
		return nil
	}, i.rollouts, i.instances)
	if err != nil {
		return nil, err
	}
	s := i.secrets
	named, err := i.meter.RegisterCallback(t.watchedSecrets(s), s.age, s.left, s.state, s.blockers)
	if err != nil {
		return nil, errors.Join(err, reg.Unregister())
	}
	return func() error { return errors.Join(reg.Unregister(), named.Unregister()) }, nil
}
