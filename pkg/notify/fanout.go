package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/guard"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// maxFanOut bounds the services that are told of one announcement at once. It is not
// configured: each notification is one publication.
const maxFanOut = 16

// fanOut tells every subscriber of an announcement. All of them have been told
// when it returns nil; it may be repeated, see [events.Bus.Notify]. A service that
// could not be told keeps no other one from being told, and the announcement is
// delivered again until all were. The error is permanent only if trying again cannot
// help any of them.
func (n *Notifier) fanOut(ctx context.Context, d events.Delivery) error {
	if d.Event.Type == events.TypeRotated {
		n.tracker.delivered(d.Event.Data)
	}
	services, err := n.subscribers(ctx, d.Event.Data.SecretID)
	if err != nil {
		err = fmt.Errorf("notify: find the services: %w", err)
		n.failed(ctx, d, err)
		return err
	}
	ctx, span := n.tracer.Start(ctx, "fan out", trace.WithAttributes(
		attribute.String("secret.id", string(d.Event.Data.SecretID)), attribute.Int("notify.services", len(services))))
	defer span.End()
	var g errgroup.Group
	g.SetLimit(maxFanOut)
	errs := make([]error, len(services))
	for i, s := range services {
		g.Go(func() error {
			errs[i] = guard.Call(ctx, n.cfg.Logger, "a notification", func() error { return n.notify(ctx, s, d) })
			return nil
		})
	}
	_ = g.Wait() // its functions return nil
	if err = join(errs); err != nil {
		span.SetStatus(codes.Error, "not all services were told")
		n.failed(ctx, d, err)
	}
	return err
}

// failed tells people that services were not told: for now, or for good.
func (n *Notifier) failed(ctx context.Context, d events.Delivery, err error) {
	attrs := []slog.Attr{slog.String("secret_id", string(d.Event.Data.SecretID)), slog.String("version_id", string(d.Event.Data.VersionID)),
		slog.String("error", err.Error())}
	if events.IsPermanent(err) {
		n.cfg.Logger.LogAttrs(ctx, slog.LevelError, "notify.failed", attrs...)
		return
	}
	n.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "notify.retry", attrs...)
}

// notify tells one service. The error is permanent for a name that no subject can
// hold: such a service is never told.
func (n *Notifier) notify(ctx context.Context, service string, d events.Delivery) error {
	if err := events.ValidToken(service); err != nil {
		return events.Permanent(fmt.Errorf("notify: service %w", err))
	}
	if err := n.cfg.Bus.Notify(ctx, service, d.Event, d.Seq); err != nil {
		return fmt.Errorf("notify %s: %w", service, err)
	}
	n.metrics.notified.Add(ctx, 1, metric.WithAttributes(attribute.String("type", string(d.Event.Type)), attribute.String("service", service)))
	return nil
}

// join returns errs as one error that is permanent only if all of them are.
func join(errs []error) error {
	passing := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil || events.IsPermanent(err) })
	if len(passing) > 0 {
		return errors.Join(passing...)
	}
	return errors.Join(errs...)
}

// subscribers returns the services that hear of a secret, in order: those that are
// configured, or those that use it where none is. Of a secret that is neither
// configured here nor discovered only the latter are known.
func (n *Notifier) subscribers(ctx context.Context, id secret.ID) ([]string, error) {
	wanted, err := n.services(ctx, id)
	if err != nil {
		return nil, err
	}
	n.tracker.mu.Lock()
	defer n.tracker.mu.Unlock()
	services := slices.Sorted(slices.Values(n.tracker.audience(secret.Spec{ID: id, Services: wanted})))
	return slices.Compact(services), nil
}
