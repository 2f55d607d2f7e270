package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// DefaultHandlerTimeout is [ConsumeConfig.Timeout] unless a caller says otherwise.
const DefaultHandlerTimeout = 15 * time.Minute

// handlerGrace is how long a handler may take to return after its context has ended.
const handlerGrace = 10 * time.Second

// errHandlerStuck is the outcome of a handler that did not return in time.
var errHandlerStuck = errors.New("the handler did not return in time")

// bounded calls the handler and waits for it until the timeout, or the end of ctx, and
// the grace after that. A handler that goes on alone keeps no slot and no message: the
// event comes again, to this process or to another.
func (c *consumer) bounded(ctx context.Context, d Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- c.call(ctx, d)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(handlerGrace)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
	}
	c.b.log.LogAttrs(ctx, slog.LevelError, "bus.handler.stuck", slog.String("type", string(d.Event.Type)),
		slog.String("secret_id", string(d.Event.Data.SecretID)), slog.Duration("timeout", c.cfg.Timeout))
	return fmt.Errorf("%w: %w", errHandlerStuck, context.DeadlineExceeded)
}

// call calls the handler and turns a panic into an error.
func (c *consumer) call(ctx context.Context, d Delivery) (err error) {
	defer c.b.recovered(ctx, "handler of "+string(d.Event.Type), &err)
	return c.handle(ctx, d)
}
