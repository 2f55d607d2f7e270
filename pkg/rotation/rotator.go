package rotation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Catalog finds a secret, and reads it together with what is configured for it;
// *catalog.Catalog is one.
type Catalog interface {
	Find(ctx context.Context, id secret.ID) (catalog.Entry, error)
	Describe(ctx context.Context, spec secret.Spec) (catalog.Entry, secret.Metadata, error)
}

// Stores returns the store with a name; *store.Set is one.
type Stores interface {
	Get(name string) (*store.Store, bool)
}

// Bus is what a rotation needs of the bus; *events.Bus is one.
type Bus interface {
	Last(ctx context.Context, t events.Type, id secret.ID) (events.Announcement, error)
	PublishAfter(ctx context.Context, e events.Event, after uint64) (uint64, error)
	Publish(ctx context.Context, e events.Event) error
	Arm(ctx context.Context, e events.Event, at time.Time) (bool, error)
	Reports(ctx context.Context) ([]events.Report, error)
}

// Target is where a value has to be made valid besides the store: a database
// role, an API. Both methods are repeated after a crash and must find that they
// have been done. They get the values and must not let them reach an error.
type Target interface {
	// Apply makes pending valid. It tries pending first: an earlier run may
	// have got this far.
	Apply(ctx context.Context, c Change) error
	// Verify proves that pending works where it is used.
	Verify(ctx context.Context, c Change) error
}

// Change is what a [Target] is asked to do.
type Change struct {
	Spec    secret.Spec
	Pending secret.Value
}

// ErrRejected marks a failure that lies in the value, not in the way to the
// target: wrap it in a [Target]'s error, and after some refusals the rotation
// takes a fresh value.
var ErrRejected = errors.New("value rejected")

// Config is what a [Rotator] needs. Catalog, Stores and Bus are required.
type Config struct {
	Catalog Catalog
	Stores  Stores
	Bus     Bus
	// Source names this worker in events.
	Source string
	// Targets are the targets by secret; a secret without one has its value in
	// the store only.
	Targets map[secret.ID]Target
	// Random is where values come from; nil means crypto/rand.
	Random io.Reader
	// TakeoverAttempts is after how many tries a pending version that somebody else
	// left behind is replaced. 0 means 3.
	TakeoverAttempts int
	// ExternalDeadline is how long a rotation that the store has somebody else run
	// may take. 0 means DefaultExternalDeadline, negative no deadline.
	ExternalDeadline time.Duration
	// RetryBase and RetryCap bound the time to the next try, which doubles
	// with each. 0 means 5 s and 15 min.
	RetryBase, RetryCap time.Duration

	// Nil means slog.Default and the global providers.
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

// Rotator rotates. It is safe for concurrent use and holds no state of its own.
type Rotator struct {
	Config
	log       *slog.Logger
	tracer    trace.Tracer
	near      metric.Int64Counter
	rotations metric.Int64Counter
	retired   metric.Int64Counter
	failures  metric.Int64Counter
	duration  metric.Float64Histogram
}

const scope = "github.com/tradepulse/rotator/pkg/rotation"

// New returns a Rotator.
func New(cfg Config) (*Rotator, error) {
	if cfg.Catalog == nil || cfg.Stores == nil || cfg.Bus == nil {
		return nil, errors.New("rotation: Catalog, Stores and Bus are required")
	}
	if cfg.TakeoverAttempts == 0 {
		cfg.TakeoverAttempts = 3
	}
	if cfg.ExternalDeadline == 0 {
		cfg.ExternalDeadline = DefaultExternalDeadline
	}
	if cfg.RetryBase == 0 {
		cfg.RetryBase = 5 * time.Second
	}
	if cfg.RetryCap == 0 {
		cfg.RetryCap = 15 * time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	r := &Rotator{Config: cfg, log: cfg.Logger, tracer: cfg.TracerProvider.Tracer(scope)}
	return r, r.instruments(cfg.MeterProvider.Meter(scope))
}

func (r *Rotator) instruments(m metric.Meter) error {
	var errs [5]error
	r.near, errs[0] = m.Int64Counter("secret.near_expiry",
		metric.WithDescription("Near-expiry events taken by a worker."), metric.WithUnit("{event}"))
	r.rotations, errs[1] = m.Int64Counter("rotator.rotations",
		metric.WithDescription("Rotations by outcome."), metric.WithUnit("{rotation}"))
	r.retired, errs[2] = m.Int64Counter("rotator.versions.retired",
		metric.WithDescription("Versions retired after every instance ran the next one."), metric.WithUnit("{version}"))
	r.failures, errs[3] = m.Int64Counter("rotator.rotation.failures",
		metric.WithDescription("Tries that failed, by step, code and whether the rotation was given up."), metric.WithUnit("{try}"))
	r.duration, errs[4] = m.Float64Histogram("rotator.rotation.duration",
		metric.WithDescription("Time from taking a near-expiry event to its end."), metric.WithUnit("s"))
	return errors.Join(errs[:]...)
}

// Handle does the work that an event asks for: it rotates on
// [events.TypeNearExpiry] and retires on [events.TypeRetire]. Its error is the
// outcome: nil is done, [events.Permanent] is given up (and has been announced),
// any other is to be tried again later (see [Rotator.Retry]).
func (r *Rotator) Handle(ctx context.Context, d events.Delivery) error {
	switch d.Event.Type {
	case events.TypeNearExpiry:
		_, err := r.Rotate(ctx, d.Event.Data)
		return err
	case events.TypeRetire:
		return r.Retire(ctx, d.Event.Data)
	default:
		return events.Permanent(fmt.Errorf("a worker cannot handle %s", d.Event.Type))
	}
}

// Rotate takes the secret from the version that cause names to the next one,
// as far as that has not been done.
func (r *Rotator) Rotate(ctx context.Context, cause events.Data) (Outcome, error) {
	attrs := []slog.Attr{slog.String("secret_id", string(cause.SecretID)), slog.String("version_id", string(cause.VersionID)),
		slog.String("reason", string(cause.Reason)), slog.Int("attempt", cause.Attempt)}
	level := slog.LevelWarn
	if cause.Attempt > 0 {
		level = slog.LevelInfo // it has been said
	}
	r.log.LogAttrs(ctx, level, "secret.near_expiry", attrs...)
	r.near.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(cause.Reason))))
	return r.RotatePart(ctx, cause, PartWhole)
}

// RotatePart is Rotate for a part of the rotation.
func (r *Rotator) RotatePart(ctx context.Context, cause events.Data, part Part) (Outcome, error) {
	begin := time.Now()
	ctx, span := r.tracer.Start(ctx, "rotation", trace.WithAttributes(attribute.String("secret.id", string(cause.SecretID)),
		attribute.String("rotation.reason", string(cause.Reason)), attribute.String("rotation.part", string(part))))
	defer span.End()
	out, err := r.rotate(ctx, cause, part)
	if err != nil {
		err = judge(cause, err)
		span.SetStatus(otelcodes.Error, string(code(err)))
		return "", r.giveUp(ctx, cause, part, err)
	}
	span.SetAttributes(attribute.String("rotation.outcome", string(out)))
	if !part.early() {
		r.rotations.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", string(out))))
		r.duration.Record(ctx, time.Since(begin).Seconds(), metric.WithAttributes(attribute.String("outcome", string(out))))
	}
	return out, nil
}

func (r *Rotator) rotate(ctx context.Context, cause events.Data, part Part) (Outcome, error) {
	run, err := r.BeginPart(ctx, cause, part)
	if err != nil {
		return "", err
	}
	for {
		out, err := run.Step(ctx)
		if err != nil || out != "" {
			return out, err
		}
	}
}

// giveUp announces a failure that no retry can mend and marks it permanent; any
// other failure is logged and returned as it is, and so is that of an early
// part, which whoever drives the rotation hears of.
func (r *Rotator) giveUp(ctx context.Context, cause events.Data, part Part, err error) error {
	f := failure(err)
	final := permanent(err) && !part.early()
	r.failures.Add(ctx, 1, failed(Step(f.Step), f.Code, final))
	attrs := []slog.Attr{slog.String("secret_id", string(cause.SecretID)), slog.String("step", f.Step), slog.String("code", string(f.Code)),
		slog.String("error", err.Error()), slog.Int("attempt", cause.Attempt)}
	if !final {
		level := slog.LevelWarn
		if errors.Is(err, ErrAwaiting) || errors.Is(err, ErrRunning) {
			level = slog.LevelInfo // nothing is wrong yet: others have to do their part
		}
		r.log.LogAttrs(ctx, level, "rotation.retry", attrs...)
		return err
	}
	r.log.LogAttrs(ctx, slog.LevelError, "secret.rotation_failed", attrs...)
	data := cause
	data.Failure, data.OccurredAt = f, time.Now()
	e := events.Event{
		ID:     string(secret.NewToken(cause.SecretID, cause.VersionID, string(events.TypeRotationFailed), cause.Attempt)),
		Type:   events.TypeRotationFailed,
		Source: r.Source, Time: data.OccurredAt, Data: data,
	}
	if perr := r.Bus.Publish(ctx, e); perr != nil {
		// Not permanent yet: giving up must be heard of.
		return fmt.Errorf("announce that %w: %w", err, perr)
	}
	return events.Permanent(err)
}

// failed returns the attributes of a failed try.
func failed(s Step, code events.FailureCode, final bool) metric.AddOption {
	return metric.WithAttributes(attribute.String("step", string(s)), attribute.String("code", string(code)), attribute.Bool("final", final))
}

// Retry arms the next try of a rotation or a retirement that failed, with a
// time that doubles with each attempt. It is the Retry of the worker's
// [events.ConsumeConfig].
func (r *Rotator) Retry(ctx context.Context, d events.Delivery, cause error) error {
	e := d.Event
	e.Source, e.Time = r.Source, time.Now()
	e.Data.Attempt++
	e.Data.Failure = failure(cause)
	if errors.Is(cause, ErrRejected) {
		e.Data.Rejections++
	}
	e.ID = string(secret.NewToken(e.Data.SecretID, e.Data.VersionID, string(e.Type), e.Data.Attempt))
	delay := retryDelay(e.Data.SecretID, e.Data.Attempt, r.RetryBase, r.RetryCap)
	if d, ok := events.RetryDelay(cause); ok {
		delay = d
	}
	_, err := r.Bus.Arm(ctx, e, e.Time.Add(delay))
	return err
}

// retryDelay returns the time to attempt number attempt, less up to a quarter
// that depends on id and attempt, so that secrets that failed together are not
// tried together.
func retryDelay(id secret.ID, attempt int, base, most time.Duration) time.Duration {
	d := backoff.Delay(attempt, base, most)
	return d - time.Duration(secret.Spread(id, fmt.Sprint("attempt ", attempt))*float64(d)/4)
}
