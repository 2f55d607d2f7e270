package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/telemetry"
)

// Defaults of a [Circuit].
const (
	DefaultFailures = 3
	DefaultOpenFor  = 10 * time.Second
	DefaultStall    = 10 * time.Second
)

// Circuit configures the circuit breaker of a store. While it is open, calls fail
// at once with [ErrUnavailable], so that work on other stores continues. One call
// in a while tests whether the store has recovered.
type Circuit struct {
	// Failures is how many calls in a row have to fail for want of the store
	// itself: with ErrUnavailable or at the timeout. 0 means DefaultFailures,
	// negative turns the circuit off, and Stall with it.
	Failures int
	// OpenFor is how long the store is left alone before the next call is let
	// through. 0 means DefaultOpenFor.
	OpenFor time.Duration
	// Stall is how long a call may last during which no other call to the store
	// succeeds; it has failed then. 0 means DefaultStall, negative leaves that to
	// the timeout.
	Stall time.Duration
}

func (c Circuit) withDefaults() Circuit {
	c.Failures, c.OpenFor, c.Stall = cmp.Or(c.Failures, DefaultFailures), cmp.Or(c.OpenFor, DefaultOpenFor), cmp.Or(c.Stall, DefaultStall)
	return c
}

var (
	// ErrCircuitOpen is in the error of a call that was not made, because the
	// store did not answer before.
	ErrCircuitOpen = errors.New("it did not answer before and is left alone for a while")
	// errStalled is the cause with which a call is cancelled.
	errStalled = errors.New("no answer, and none to any other call meanwhile")
)

// breaker is the circuit of one store.
type breaker struct {
	cfg   Circuit
	gate  *gobreaker.TwoStepCircuitBreaker[struct{}] // nil when it is off
	state metric.Int64Gauge

	mu   sync.Mutex
	good time.Time // when a call succeeded last
}

func newBreaker(name string, cfg Circuit, log *slog.Logger, i *telemetry.Instruments) *breaker {
	b := &breaker{cfg: cfg.withDefaults()}
	if b.cfg.Failures < 0 {
		return b
	}
	b.state = i.Gauge("rotator.store.circuit", "{state}", "Whether a store is called: 0 yes, 1 one call to test whether it has recovered, 2 not for now.")
	attrs := metric.WithAttributes(attribute.String("store", name))
	b.state.Record(context.Background(), int64(gobreaker.StateClosed), attrs)
	b.gate = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, Timeout: b.cfg.OpenFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= b.cfg.Failures },
		IsSuccessful: func(err error) bool { return !dead(err) },
		IsExcluded:   saysNothing,
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.state.Record(context.Background(), int64(to), attrs)
			log.LogAttrs(context.Background(), slog.LevelWarn, "store.circuit", slog.String("store", name), slog.String("from", from.String()), slog.String("to", to.String()))
		},
	})
	return b
}

// dead reports whether err says that the store did not answer.
func dead(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// saysNothing reports whether err tells neither that the store is alive nor that
// it is dead: the caller went away, nothing was sent, or it was held back for
// its rate.
func saysNothing(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrReadOnly) || errors.Is(err, ErrThrottled)
}

// allow returns how to report what became of a call, the first report counts, or
// an error when the call must not be made.
func (b *breaker) allow() (report func(error), err error) {
	if b.gate == nil {
		return func(error) {}, nil
	}
	done, err := b.gate.Allow()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ErrCircuitOpen)
	}
	var once sync.Once
	return func(err error) {
		once.Do(func() {
			if err == nil {
				b.succeeded()
			}
			done(err)
		})
	}, nil
}

// do makes a call unless the circuit is open, and ends it when it stalls.
func (b *breaker) do(ctx context.Context, call func(context.Context) error) error {
	report, err := b.allow()
	if err != nil {
		return err
	}
	defer report(context.Canceled) // of a call that panics
	watched, stop := b.watch(ctx)
	defer stop()
	err = unmasked(watched, call(watched))
	if ctx.Err() != nil {
		report(context.Canceled) // it is the caller who had enough
	}
	report(err)
	return err
}

// unmasked returns err, or what it comes from when that is a stall.
func unmasked(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w: %w", ErrUnavailable, errStalled)
	}
	return err
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.good = time.Now()
}

// watch returns a context that is cancelled once the call has stalled.
func (b *breaker) watch(ctx context.Context) (context.Context, func()) {
	if b.gate == nil || b.cfg.Stall < 0 {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	begin := time.Now()
	var timer *time.Timer
	b.mu.Lock()
	defer b.mu.Unlock()
	timer = time.AfterFunc(b.cfg.Stall, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if ctx.Err() != nil {
			return // it has ended while this waited for the lock
		}
		since := begin
		if b.good.After(since) {
			since = b.good
		}
		if rest := b.cfg.Stall - time.Since(since); rest > 0 {
			timer.Reset(rest)
			return
		}
		cancel(errStalled)
	})
	return ctx, func() {
		timer.Stop()
		cancel(nil)
	}
}
