package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
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

// Bus reads and writes announcements and reads fleets; *events.Bus is one.
type Bus interface {
	// Last returns the last event of a type about a secret, zero for none. The
	// error may wrap ErrNoLog. With an error that wraps events.ErrUntrusted the
	// sequence is valid.
	Last(ctx context.Context, t events.Type, id secret.ID) (events.Announcement, error)
	// PublishAfter publishes e if the last event of its type about its secret has
	// the given sequence. Otherwise the error wraps events.ErrConflict.
	PublishAfter(ctx context.Context, e events.Event, after uint64) (uint64, error)
	// Publish publishes e.
	Publish(ctx context.Context, e events.Event) error
	// Fleet returns everything that is recorded about the users of a secret, or an
	// error: a part of it would prove nothing.
	Fleet(ctx context.Context, id secret.ID) (events.Fleet, error)
	// RecordRetirement stores a receipt, unless the last one about the secret is of the
	// same retirement.
	RecordRetirement(ctx context.Context, r events.Receipt) error
	// Pause returns the last pause of a secret, zero for none.
	Pause(ctx context.Context, id secret.ID) (events.Pause, error)
	// Confirmations returns the last confirmation of each of a secret's consumers.
	Confirmations(ctx context.Context, id secret.ID, consumers []secret.Consumer) (map[string]events.Confirmed, error)
}

// Timers delivers events later; *events.Bus is one.
type Timers interface {
	// Arm delivers e at the given time, in place of the timer that was armed
	// before for the same type and secret. If that one outranks e it stays, and the
	// error wraps events.ErrOutranked.
	Arm(ctx context.Context, e events.Event, at time.Time) (bool, error)
}

// ErrNoLog is returned by a [Bus] whose log cannot be read for now. A rotation
// continues without: it announces what it promotes, and does not look for
// versions that were never announced.
var ErrNoLog = errors.New("the log of announcements cannot be read")

// Config is what a [Rotator] works with. Catalog, Stores and Bus are required.
type Config struct {
	Catalog Catalog
	Stores  Stores
	Bus     Bus
	// Timers hold later tries and the next rotation. Nil arms none, for a caller
	// that schedules and repeats by itself.
	Timers Timers
	// Source names this worker in events.
	Source string
	// TargetFor returns the target of a secret, nil for none. It is called for
	// each step that needs the target, so it has to keep connections itself. A nil
	// TargetFor means that no secret has a target. A secret without one has
	// [target.ValueOnly].
	TargetFor func(ctx context.Context, s secret.Spec) (target.Target, error)
	// TargetTimeout bounds each call of a target, and in Verify its lag comes on top. 0
	// means a minute.
	TargetTimeout time.Duration
	// Random is the source of values for secrets without a target. Nil means
	// crypto/rand.
	Random io.Reader
	// TakeoverAttempts is after how many tries a pending version of another writer
	// is replaced. 0 means 3.
	TakeoverAttempts int
	// ExternalDeadline is how long a rotation that the store runs may take. 0
	// means DefaultExternalDeadline, negative no deadline.
	ExternalDeadline time.Duration
	// RetryBase and RetryCap bound the time to the next try, which doubles with
	// each. 0 means 5 s and 15 min.
	RetryBase, RetryCap time.Duration

	// Nil means slog.Default and the global providers.
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

// withDefaults returns c with its zero values replaced.
func (c Config) withDefaults() Config {
	c.TakeoverAttempts = cmp.Or(c.TakeoverAttempts, 3)
	c.TargetTimeout = cmp.Or(c.TargetTimeout, time.Minute)
	c.ExternalDeadline = cmp.Or(c.ExternalDeadline, DefaultExternalDeadline)
	c.RetryBase = cmp.Or(c.RetryBase, 5*time.Second)
	c.RetryCap = cmp.Or(c.RetryCap, 15*time.Minute)
	c.Logger, c.MeterProvider, c.TracerProvider = telemetry.Logger(c.Logger), telemetry.Meters(c.MeterProvider), telemetry.Tracers(c.TracerProvider)
	return c
}

// Rotator rotates and retires. It is safe for concurrent use and holds no state
// of a rotation.
type Rotator struct {
	cfg       Config
	log       *slog.Logger
	tracer    trace.Tracer
	near      metric.Int64Counter
	rotations metric.Int64Counter
	retired   metric.Int64Counter
	failures  metric.Int64Counter
	// violations counts versions of other programs that break their policy.
	violations metric.Int64Counter
	duration   metric.Float64Histogram
}

const scope = "github.com/tradepulse/rotator/pkg/rotation"

// New returns a Rotator.
func New(cfg Config) (*Rotator, error) {
	cfg = cfg.withDefaults()
	if cfg.Catalog == nil || cfg.Stores == nil || cfg.Bus == nil {
		return nil, errors.New("rotation: Catalog, Stores and Bus are required")
	}
	r := &Rotator{cfg: cfg, log: cfg.Logger, tracer: cfg.TracerProvider.Tracer(scope)}
	return r, r.instruments(cfg.MeterProvider.Meter(scope))
}

func (r *Rotator) instruments(m metric.Meter) error {
	i := telemetry.New(m)
	r.near = i.Counter("secret.near_expiry", "{event}", "Near-expiry events taken by a worker.")
	r.rotations = i.Counter("rotator.rotations", "{rotation}", "Rotations by outcome.")
	r.retired = i.Counter("rotator.versions.retired", "{version}", "Versions retired after every instance ran the next one.")
	r.failures = i.Counter("rotator.rotation.failures", "{try}", "Tries that failed, by step, code and whether the rotation was given up.")
	r.violations = i.Counter("rotator.policy.violations", "{version}", "Versions of other programs that break the policy of their secret, when they are announced.")
	r.duration = i.Histogram("rotator.rotation.duration", "s", "Time from taking a near-expiry event to its end.")
	return i.Err()
}

// targetFor returns the target of a secret.
func (r *Rotator) targetFor(ctx context.Context, s secret.Spec) (target.Target, error) {
	if r.cfg.TargetFor != nil {
		t, err := r.cfg.TargetFor(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("target of %s: %w", s.ID, err)
		}
		if t != nil {
			return t, nil
		}
	}
	return target.ValueOnly{Random: r.cfg.Random}, nil
}

// Handle does the work that an event asks for: it rotates on
// [events.TypeNearExpiry] and retires on [events.TypeRetire]. Its error is the
// outcome: nil is done, [events.Permanent] is given up and announced, any other
// is to be tried again (see [Rotator.Retry]).
func (r *Rotator) Handle(ctx context.Context, d events.Delivery) error {
	switch d.Event.Type {
	case events.TypeNearExpiry:
		t := tryOf(d.Event.Data)
		t.Delivered = d.At
		if d.Event.Expired(time.Now()) {
			t = r.expired(ctx, t)
		}
		r.received(ctx, t)
		_, err := r.Rotate(ctx, t)
		return err
	case events.TypeRetire:
		return r.retire(ctx, d.Event)
	default:
		return events.Permanent(fmt.Errorf("a worker cannot handle %s", d.Event.Type))
	}
}

// received logs and counts a request. A rotation that goes as planned is no warning;
// one of a version that has ended already is.
func (r *Rotator) received(ctx context.Context, t Try) {
	level := slog.LevelInfo
	if t.Reason == events.ReasonExpired {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("secret_id", string(t.Secret)), slog.String("version_id", string(t.From)),
		slog.String("reason", string(t.Reason)), slog.Int("attempt", t.Retry.Attempt)}
	if t.By != "" {
		attrs = append(attrs, slog.String("by", t.By), slog.String("ticket", t.Ticket))
	}
	r.log.LogAttrs(ctx, level, "secret.near_expiry", attrs...)
	r.near.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(t.Reason))))
}

// Rotate takes the secret from the version that the request names to the next
// one, as far as that has not been done. Its error is that of [Rotator.Handle].
func (r *Rotator) Rotate(ctx context.Context, t Try) (Outcome, error) {
	begin := time.Now()
	ctx, span := r.tracer.Start(ctx, "rotation", trace.WithAttributes(attribute.String("secret.id", string(t.Secret)),
		attribute.String("rotation.reason", string(t.Reason)), attribute.String("rotation.phase", string(t.Phase))))
	defer span.End()
	var out Outcome
	var err error
	for x := r.newRun(t); out == "" && err == nil; {
		out, err = x.step(ctx)
	}
	if err != nil {
		err = escalate(t.Retry, t.final(err))
		span.SetStatus(otelcodes.Error, string(code(err)))
		return "", r.fail(ctx, t, err)
	}
	span.SetAttributes(attribute.String("rotation.outcome", string(out)))
	if !t.Phase.early() {
		r.rotations.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", string(out))))
		r.duration.Record(ctx, time.Since(begin).Seconds(), metric.WithAttributes(attribute.String("outcome", string(out))))
	}
	return out, nil
}

// fail logs a try that failed and returns its error. A failure that no later try
// can mend is announced and marked permanent, except that of an early phase: the
// caller that drives the phases handles it.
func (r *Rotator) fail(ctx context.Context, t Try, err error) error {
	f := failure(err)
	final := permanent(err) && !t.Phase.early()
	r.failures.Add(ctx, 1, failureAttributes(f.Step, f.Code, final))
	attrs := []slog.Attr{slog.String("secret_id", string(t.Secret)), slog.String("step", f.Step), slog.String("code", string(f.Code)),
		slog.String("error", err.Error()), slog.Int("attempt", t.Retry.Attempt)}
	if !final {
		level := slog.LevelWarn
		if errors.Is(err, ErrAwaiting) || errors.Is(err, errRunning) {
			level = slog.LevelInfo // nothing is wrong: other processes have to act first
		}
		r.log.LogAttrs(ctx, level, "rotation.retry", attrs...)
		return err
	}
	r.log.LogAttrs(ctx, slog.LevelError, "secret.rotation_failed", attrs...)
	if perr := r.cfg.Bus.Publish(ctx, r.failedEvent(t, f)); perr != nil {
		// Not permanent yet: giving up has to be announced.
		return fmt.Errorf("announce that %w: %w", err, perr)
	}
	return events.Permanent(err)
}

// failedEvent returns the event that says that the rotation was given up. Its ID
// depends on the try, so that repeating a lost announcement makes no second one.
func (r *Rotator) failedEvent(t Try, f *events.Failure) events.Event {
	d := t.data()
	d.Retry, d.OccurredAt = t.Retry, time.Now()
	d.Failure = f
	return events.Event{
		ID:     string(secret.NewToken(t.Secret, t.From, string(events.TypeRotationFailed), t.Retry.Attempt)),
		Type:   events.TypeRotationFailed,
		Source: r.cfg.Source, Time: d.OccurredAt, Data: d,
	}
}

// failureAttributes returns the attributes of a try that failed.
func failureAttributes(step string, code events.FailureCode, final bool) metric.AddOption {
	return metric.WithAttributes(attribute.String("step", step), attribute.String("code", string(code)), attribute.Bool("final", final))
}
