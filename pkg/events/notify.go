package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/secret"
)

// headerSeq carries the sequence of the announcement that a notification is
// about, so that a late notification never replaces a newer one.
const headerSeq = "Rotator-Seq"

// Notify tells a service of an announcement with the given sequence: running
// instances hear it at once, later ones read it when they start. It does nothing
// when the service was told the same or something newer. A log that was lost
// counts from 1 again, so that a low sequence alone does not make e old news: it
// has to be the older event as well.
func (b *Bus) Notify(ctx context.Context, service string, e Event, seq uint64) error {
	if err := ValidToken(service); err != nil {
		return fmt.Errorf("notify: service %w", err)
	}
	if !e.notifies() {
		return fmt.Errorf("notify: services are not told of %s", e.Type)
	}
	subject := b.cfg.Names.Notify(service, e.Data.SecretID.Key())
	for range casTries {
		m, err := b.stored(ctx, b.cfg.Names.NotifyStream(), subject)
		if err != nil {
			return wrap("notify", err)
		}
		var last uint64
		if m != nil {
			last = m.Sequence
			told, bad := b.decode(subject, m.Header, m.Data)
			if bad == nil && announced(m.Header) >= seq && !e.Time.After(told.Time) {
				return nil
			}
		}
		_, err = b.send(ctx, subject, e, withHeader(headerSeq, strconv.FormatUint(seq, 10)), jetstream.WithExpectLastSequencePerSubject(last))
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("notify: %w", ErrConflict)
}

// announced returns the sequence of the announcement that a notification is
// about, 0 when it does not say.
func announced(h nats.Header) uint64 {
	n, err := strconv.ParseUint(h.Get(headerSeq), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// SubscribeNotify calls fn with each notification to a service from now on, one
// at a time, until stop is called. It returns once the server knows of the
// subscription, or at once while there is no connection. The Seq of a delivery is that of the announcement; it is not
// signed and only a hint.
func (b *Bus) SubscribeNotify(ctx context.Context, service string, fn func(context.Context, Delivery)) (stop func(), err error) {
	if err := ValidToken(service); err != nil {
		return nil, fmt.Errorf("subscribe: service %w", err)
	}
	sub, err := b.nc.Subscribe(b.cfg.Names.Live(service, "*"), func(m *nats.Msg) {
		e, err := b.decode(m.Subject, m.Header, m.Data)
		if err != nil {
			b.note(ctx, m.Subject, err)
			return
		}
		b.notified(b.extract(ctx, m.Header), Delivery{Event: e, Seq: announced(m.Header), Attempt: 1}, fn)
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	stop = func() { _ = sub.Unsubscribe() } // fails only on a closed connection
	if b.nc.IsReconnecting() {
		return stop, nil // the server hears of it with the connection
	}
	fctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := b.nc.FlushWithContext(fctx); err != nil && !b.nc.IsReconnecting() {
		return nil, errors.Join(fmt.Errorf("subscribe: %w", err), sub.Unsubscribe())
	}
	return stop, nil
}

// notified calls fn. One that panics has missed the notification and gets the
// next.
func (b *Bus) notified(ctx context.Context, d Delivery, fn func(context.Context, Delivery)) {
	var err error
	func() {
		defer b.recovered(ctx, "handler of notifications", &err)
		fn(ctx, d)
	}()
	if err != nil {
		b.consumed.Add(ctx, 1, metric.WithAttributes(attribute.String("type", string(d.Event.Type)), attribute.String("outcome", "panic")))
	}
}

// LastNotified returns the last notification to a service about a secret; its
// Seq is that of the announcement. On a cluster a newer one may exist: any server
// answers.
func (b *Bus) LastNotified(ctx context.Context, service string, id secret.ID) (Announcement, error) {
	subject := b.cfg.Names.Notify(service, id.Key())
	m, err := b.hinted(ctx, b.cfg.Names.NotifyStream(), subject)
	if m == nil || err != nil {
		return Announcement{}, wrap("read the last notification", err)
	}
	e, err := b.decode(subject, m.Header, m.Data)
	if err != nil {
		b.note(ctx, subject, err)
		return Announcement{}, fmt.Errorf("read the last notification: %w: %w", ErrUntrusted, err)
	}
	return Announcement{Event: e, Seq: announced(m.Header), Trace: b.traceOf(ctx, m.Header)}, nil
}

// OnReconnect calls fn after each reconnect until ctx ends.
func (b *Bus) OnReconnect(ctx context.Context, fn func()) {
	ch := b.nc.StatusChanged(nats.CONNECTED)
	go func() {
		defer b.nc.RemoveStatusListener(ch)
		for {
			select {
			case <-ctx.Done():
				return
			case _, ok := <-ch:
				if !ok {
					return
				}
				b.reconnected(ctx, fn)
			}
		}
	}()
}

// reconnected calls fn. One that panics has missed a reconnect and hears of the
// next.
func (b *Bus) reconnected(ctx context.Context, fn func()) {
	var err error // logged
	defer b.recovered(ctx, "handler of reconnects", &err)
	fn()
}

// Connected reports whether the connection stands.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }
