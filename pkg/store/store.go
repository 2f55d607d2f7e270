package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/secret"
)

// DefaultTimeout is [Options.Timeout] unless a caller says otherwise.
const DefaultTimeout = 30 * time.Second

// Options say how a [Store] works; nil means all defaults.
type Options struct {
	// Timeout bounds each call, and in List each wait for the next secret. 0
	// means DefaultTimeout, negative means none.
	Timeout time.Duration
	// Circuit keeps a store that is dead from holding up those who use others.
	Circuit Circuit

	// Nil means slog.Default and the global providers.
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

// withDefaults returns o with its zero values replaced.
func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Logger, o.MeterProvider, o.TracerProvider = telemetry.Logger(o.Logger), telemetry.Meters(o.MeterProvider), telemetry.Tracers(o.TracerProvider)
	return o
}

// Store is one place where secrets are kept. It is safe for concurrent use.
//
// Its errors read "store NAME: OPERATION PATH: …", wrap one of the sentinels of
// this package where one fits, and never hold a value: what the driver passes on
// of an answer is scrubbed of the value that the call has, see [secret.Scrub].
type Store struct {
	name    string
	d       Driver
	timeout time.Duration
	circuit *breaker
	log     *slog.Logger
	tracer  trace.Tracer
	access  metric.Int64Counter
	took    metric.Float64Histogram
	skew    metric.Float64Gauge
	reads   *accessLog
}

const scope = "github.com/tradepulse/rotator/pkg/store"

// New returns a Store called name over a driver, which it closes in the end.
func New(name string, d Driver, opts *Options) (*Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if name == "" || d == nil {
		return nil, errors.New("store: a name and a driver are required")
	}
	o = o.withDefaults()
	s := &Store{name: name, d: d, timeout: o.Timeout, log: o.Logger, tracer: o.TracerProvider.Tracer(scope), reads: newAccessLog(name, o.Logger)}
	i := telemetry.New(o.MeterProvider.Meter(scope))
	s.access = i.Counter("secret.access", "{call}", "Calls to a store, by operation and outcome.")
	s.took = i.Histogram("rotator.store.duration", "s", "Time of a call to a store.")
	s.skew = i.TimeGauge("rotator.store.clock.skew", "s", "By how much the clock of a store is ahead of this process's, by store; negative if it is behind.")
	s.circuit = newBreaker(name, o.Circuit, s.log, i)
	return s, i.Err()
}

// Name returns the name of the store.
func (s *Store) Name() string { return s.name }

// Describe reads everything about a secret but its values.
func (s *Store) Describe(ctx context.Context, path string) (m secret.Metadata, err error) {
	err = s.call(ctx, "describe", path, slog.LevelDebug, func(ctx context.Context) error {
		m, err = s.d.Describe(ctx, path)
		return err
	})
	return m, err
}

// Get reads one version and its value.
func (s *Store) Get(ctx context.Context, path string, sel Selector) (v secret.Version, val secret.Value, err error) {
	err = s.call(ctx, "get", path, slog.LevelInfo, func(ctx context.Context) error {
		if sel.Version != "" {
			if err := sel.Version.Validate(); err != nil {
				return fmt.Errorf("%w: %w", ErrInvalid, err)
			}
		}
		v, val, err = s.d.Get(ctx, path, sel)
		return secret.Scrub(err, val)
	})
	return v, val, err
}

// Put writes a pending version, see [Driver].
func (s *Store) Put(ctx context.Context, path string, w Write) (v secret.Version, err error) {
	err = s.call(ctx, "put", path, slog.LevelDebug, func(ctx context.Context) error {
		if err := w.validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		v, err = s.d.Put(ctx, path, w)
		return secret.Scrub(err, w.Value)
	})
	return v, err
}

func (w Write) validate() error {
	switch n := w.Value.Len(); {
	case w.Token == "":
		return errors.New("no rotation token")
	case secret.VersionID(w.Token).Validate() != nil:
		return errors.New("the rotation token is malformed")
	case n == 0:
		return errors.New("the value is empty")
	case n > secret.MaxValueLength:
		return fmt.Errorf("the value is larger than %d bytes", secret.MaxValueLength)
	default:
		return nil
	}
}

// Promote moves the current stage, see [Driver].
func (s *Store) Promote(ctx context.Context, path string, from, to secret.VersionID) error {
	return s.call(ctx, "promote", path, slog.LevelDebug, func(ctx context.Context) error {
		if err := to.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return s.d.Promote(ctx, path, from, to)
	})
}

// Retire takes the stage of a version away, see [Driver].
func (s *Store) Retire(ctx context.Context, path string, v secret.VersionID, mode secret.RetireMode) error {
	return s.call(ctx, "retire", path, slog.LevelDebug, func(ctx context.Context) error {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return s.d.Retire(ctx, path, v, cmp.Or(mode, secret.RetireDelete))
	})
}

// List yields every secret of the store, and stops after an error.
func (s *Store) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		ctx, span := s.tracer.Start(ctx, "secret.list", trace.WithAttributes(attribute.String("secret.store", s.name)))
		defer span.End()
		begin := time.Now()
		// The zero Metadata only says that the driver gets on.
		err := s.list(ctx, func(m secret.Metadata) bool { return m.Path == "" || yield(m, nil) })
		if err != nil {
			err = fmt.Errorf("store %s: list: %w", s.name, err)
			span.SetStatus(codes.Error, Reason(err))
			yield(secret.Metadata{}, err)
		}
		s.observe(ctx, "list", "", slog.LevelDebug, begin, err)
	}
}

// list calls yield with every secret. Only the time until the driver gives the
// next one is bounded, not what yield takes.
func (s *Store) list(ctx context.Context, yield func(secret.Metadata) bool) error {
	report, err := s.circuit.allow()
	if err != nil {
		return err
	}
	defer report(context.Canceled) // of a call that panics
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.timeout > 0 {
		timer := time.AfterFunc(s.timeout, func() { cancel(errStalled) })
		defer timer.Stop()
		next := yield
		yield = func(m secret.Metadata) bool {
			timer.Stop()
			defer timer.Reset(s.timeout)
			return next(m)
		}
	}
	for m, err := range s.d.List(waiting) {
		if err != nil {
			err = unmasked(waiting, err)
			if ctx.Err() == nil {
				report(err)
			}
			return err
		}
		report(nil)
		if !yield(m) {
			return nil
		}
	}
	report(nil)
	return nil
}

// Close closes the driver.
func (s *Store) Close() error {
	s.reads.close()
	if err := s.d.Close(); err != nil {
		return fmt.Errorf("store %s: close: %w", s.name, err)
	}
	return nil
}

// call does what every operation does around its own work.
func (s *Store) call(ctx context.Context, op, path string, level slog.Level, do func(context.Context) error) error {
	ctx, span := s.tracer.Start(ctx, "secret."+op, trace.WithAttributes(
		attribute.String("secret.store", s.name), attribute.String("secret.path", path)))
	defer span.End()
	begin := time.Now()
	_, err := secret.ParseID(path)
	if err != nil {
		err = fmt.Errorf("%w: path: %w", ErrInvalid, err)
	} else {
		err = s.circuit.do(ctx, s.timed(do))
	}
	if err != nil {
		err = fmt.Errorf("store %s: %s %s: %w", s.name, op, path, err)
		span.SetStatus(codes.Error, Reason(err))
	}
	s.observe(ctx, op, path, level, begin, err)
	return err
}

// timed returns do with the timeout of a call.
func (s *Store) timed(do func(context.Context) error) func(context.Context) error {
	if s.timeout <= 0 {
		return do
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		return do(ctx)
	}
}

func (s *Store) observe(ctx context.Context, op, path string, level slog.Level, begin time.Time, err error) {
	outcome := Reason(err)
	attrs := metric.WithAttributes(attribute.String("store", s.name), attribute.String("operation", op), attribute.String("outcome", outcome))
	s.access.Add(ctx, 1, attrs)
	s.took.Record(ctx, time.Since(begin).Seconds(), attrs)
	if d, ok := s.d.(Dated); ok {
		if ahead, known := d.Skew(); known {
			s.skew.Record(ctx, ahead.Seconds(), metric.WithAttributes(attribute.String("store", s.name)))
		}
	}
	if level == slog.LevelInfo {
		s.reads.read(ctx, path, outcome)
		return
	}
	s.log.LogAttrs(ctx, level, "secret.access", slog.String("store", s.name), slog.String("operation", op), slog.String("secret", path), slog.String("outcome", outcome))
}
