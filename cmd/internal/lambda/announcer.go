package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Publisher puts events on an event bus of EventBridge; *eventbridge.Publisher
// is one.
type Publisher interface {
	Publish(ctx context.Context, es ...events.Event) error
}

// errNoBus is what is left when there is nowhere to announce.
var errNoBus = errors.New("neither nats.url nor an event bus is configured")

// announcer is the bus of one invocation: NATS if it can be reached, which is
// tried once, else EventBridge. It implements rotation.Bus.
//
// An announcement that gets through nowhere is an error in the log and no error
// of the rotation, which is done: the sweep of a scheduler announces the version.
type announcer struct {
	reach     func(context.Context) (*events.Bus, error)           // NATS; nil: not configured
	publisher func(context.Context) (Publisher, error)             // EventBridge; nil: not configured
	both      bool                                                 // announce on both
	timeout   time.Duration                                        // of one call on NATS
	lost      func(ctx context.Context, e events.Event, err error) // hears of what got through nowhere
	log       *slog.Logger

	bus     *events.Bus // once reached
	failure error       // why it cannot be, once tried
}

// nats returns the bus if it can be reached.
func (a *announcer) nats(ctx context.Context) (*events.Bus, error) {
	switch {
	case a.reach == nil:
		return nil, errors.New("nats.url is not set")
	case a.bus != nil || a.failure != nil:
		return a.bus, a.failure
	}
	if a.bus, a.failure = a.reach(ctx); a.failure != nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "lambda.nats_unreachable", slog.String("error", a.failure.Error()))
	}
	return a.bus, a.failure
}

// gone notes that the bus has failed and is not asked again.
func (a *announcer) gone(ctx context.Context, err error) {
	a.bus, a.failure = nil, err
	a.log.LogAttrs(ctx, slog.LevelWarn, "lambda.nats_failed", slog.String("error", err.Error()))
}

// Last implements rotation.Bus.
func (a *announcer) Last(ctx context.Context, t events.Type, id secret.ID) (events.Announcement, error) {
	bus, err := a.nats(ctx)
	if err != nil {
		return events.Announcement{}, fmt.Errorf("%w: %w", rotation.ErrNoLog, err)
	}
	asked, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	last, err := bus.Last(asked, t, id)
	if err == nil || errors.Is(err, events.ErrUntrusted) {
		return last, err
	}
	a.gone(ctx, err)
	return events.Announcement{}, fmt.Errorf("%w: %w", rotation.ErrNoLog, err)
}

// PublishAfter implements rotation.Bus. The only error that it returns is
// events.ErrConflict.
func (a *announcer) PublishAfter(ctx context.Context, e events.Event, after uint64) (uint64, error) {
	var seq uint64
	err := a.announce(ctx, e, func(ctx context.Context, bus *events.Bus) (err error) {
		seq, err = bus.PublishAfter(ctx, e, after)
		return err
	})
	if errors.Is(err, events.ErrConflict) {
		return 0, err
	}
	if err != nil {
		a.lost(ctx, e, err)
	}
	return seq, nil
}

// Publish implements rotation.Bus.
func (a *announcer) Publish(ctx context.Context, e events.Event) error {
	err := a.announce(ctx, e, func(ctx context.Context, bus *events.Bus) error { return bus.Publish(ctx, e) })
	if err != nil {
		a.lost(ctx, e, err)
	}
	return err
}

// announce publishes on NATS, and on EventBridge where that fails or both are
// wanted.
func (a *announcer) announce(ctx context.Context, e events.Event, onNATS func(context.Context, *events.Bus) error) error {
	bus, err := a.nats(ctx)
	if err == nil {
		asked, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		err = onNATS(asked, bus)
		if errors.Is(err, events.ErrConflict) {
			return err
		}
		if err != nil {
			a.gone(ctx, err)
		}
	}
	if err == nil && !a.both {
		return nil
	}
	switch {
	case a.publisher == nil && a.reach == nil:
		return errNoBus
	case a.publisher == nil:
		return err
	}
	p, perr := a.publisher(ctx)
	if perr == nil {
		perr = p.Publish(ctx, e)
	}
	switch {
	case perr == nil:
		return nil
	case a.reach == nil:
		return perr
	default:
		return errors.Join(err, perr)
	}
}

// Fleet implements rotation.Bus.
func (a *announcer) Fleet(ctx context.Context, id secret.ID) (events.Fleet, error) {
	bus, err := a.nats(ctx)
	if err != nil {
		return events.Fleet{}, err
	}
	return bus.Fleet(ctx, id)
}

// Pause implements rotation.Bus. The store calls the function, so it is never asked.
func (a *announcer) Pause(context.Context, secret.ID) (events.Pause, error) {
	return events.Pause{}, nil
}

// RecordRetirement implements rotation.Bus.
func (a *announcer) RecordRetirement(ctx context.Context, r events.Receipt) error {
	bus, err := a.nats(ctx)
	if err != nil {
		return err
	}
	return bus.RecordRetirement(ctx, r)
}

// Confirmations implements rotation.Bus.
func (a *announcer) Confirmations(ctx context.Context, id secret.ID, consumers []secret.Consumer) (map[string]events.Confirmed, error) {
	bus, err := a.nats(ctx)
	if err != nil {
		return nil, err
	}
	return bus.Confirmations(ctx, id, consumers)
}
