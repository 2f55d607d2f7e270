package events

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/telemetry"
)

// The errors of a [Bus] that a caller acts on.
var (
	// ErrConflict: another program published on the subject first. Read again.
	ErrConflict = errors.New("the subject has moved on")
	// ErrNoSigner: a Bus without a Signer cannot publish events.
	ErrNoSigner = errors.New("no signing key is configured")
	// ErrFull: a stream refuses new records.
	ErrFull = errors.New("the stream is full")
	// ErrServerTooOld: the server lacks message schedules.
	ErrServerTooOld = errors.New("NATS server is too old")
)

// Config is what a [Bus] needs.
type Config struct {
	// Names gives subjects and streams their names; the zero value uses no
	// prefix.
	Names Names
	// Source is the ce-source of events that the Bus itself makes.
	Source string
	// Signer signs what is published; nil for a process that only listens and
	// reports.
	Signer *Signer
	// Verifier checks what is received; required.
	Verifier *Verifier
	// APIPrefix is where the JetStream API is found by a service whose account
	// imports its share of it, such as ROTATOR.API; see deployments/nats. "" is
	// $JS.API.
	APIPrefix string
	// MaxEventSize bounds an event in bytes. 0 means 16 KiB.
	MaxEventSize int

	// Nil means slog.Default, the global providers and W3C trace context.
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
	Propagator     propagation.TextMapPropagator
}

// withDefaults returns c with its zero values replaced.
func (c Config) withDefaults() Config {
	c.MaxEventSize = cmp.Or(c.MaxEventSize, defaultMaxEventSize)
	c.Source = cmp.Or(c.Source, "/rotator")
	c.APIPrefix = strings.TrimSuffix(cmp.Or(c.APIPrefix, jetstream.DefaultAPIPrefix), ".")
	c.Propagator = cmp.Or[propagation.TextMapPropagator](c.Propagator, propagation.TraceContext{})
	c.Logger, c.MeterProvider, c.TracerProvider = telemetry.Logger(c.Logger), telemetry.Meters(c.MeterProvider), telemetry.Tracers(c.TracerProvider)
	return c
}

// Bus is one connection to NATS with everything that crosses it. It is safe
// for concurrent use.
type Bus struct {
	cfg       Config
	nc        *nats.Conn
	js        jetstream.JetStream
	leader    nats.JetStreamContext // see stored
	log       *slog.Logger
	tracer    trace.Tracer
	nonce     string   // tells the barriers of this Bus from those of others
	streams   sync.Map // :: name → jetstream.Stream
	ensured   atomic.Pointer[StreamOptions]
	published metric.Int64Counter
	consumed  metric.Int64Counter
	rejected  metric.Int64Counter
	handled   metric.Float64Histogram
}

const scope = "github.com/tradepulse/rotator/pkg/events"

// callTimeout bounds a call on the bus whose context has no deadline.
const callTimeout = 10 * time.Second

// New returns a Bus on nc, which stays the caller's to close.
func New(nc *nats.Conn, cfg Config) (*Bus, error) {
	cfg = cfg.withDefaults()
	if cfg.Verifier == nil {
		return nil, errors.New("events: a Verifier is required")
	}
	js, err := jetstream.NewWithAPIPrefix(nc, cfg.APIPrefix, jetstream.WithDefaultTimeout(callTimeout))
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	leader, err := nc.JetStream(nats.APIPrefix(cfg.APIPrefix))
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	b := &Bus{cfg: cfg, nc: nc, js: js, leader: leader, nonce: rand.Text(), log: cfg.Logger, tracer: cfg.TracerProvider.Tracer(scope)}
	return b, b.instruments(cfg.MeterProvider.Meter(scope))
}

func (b *Bus) instruments(m metric.Meter) error {
	i := telemetry.New(m)
	b.published = i.Counter("rotator.events.published", "{event}", "Events published, by type.")
	b.consumed = i.Counter("rotator.events.consumed", "{event}", "Events handled, by type and outcome.")
	b.rejected = i.Counter("rotator.events.rejected", "{message}", "Messages that are no event to be trusted, by reason.")
	b.handled = i.Histogram("rotator.events.handle.duration", "s", "Time to handle an event, by type.")
	return i.Err()
}

// Names returns the names that the Bus uses.
func (b *Bus) Names() Names { return b.cfg.Names }

// send publishes an event and waits until it is stored. The sequence is that of
// the message; for a duplicate that of the one stored before.
func (b *Bus) send(ctx context.Context, subject string, e Event, prepare func(*nats.Msg), opts ...jetstream.PublishOpt) (uint64, error) {
	ctx, span := b.tracer.Start(ctx, "publish "+string(e.Type), trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(attribute.String("messaging.system", "nats"), attribute.String("secret.id", string(e.Data.SecretID))))
	defer span.End()
	m, err := b.encode(subject, e)
	if err != nil {
		return 0, err
	}
	b.inject(ctx, m.Header)
	if prepare != nil {
		prepare(m)
	}
	ack, err := b.js.PublishMsg(ctx, m, opts...)
	if err != nil {
		return 0, fmt.Errorf("publish %s: %w", e.Type, conflict(err))
	}
	b.published.Add(ctx, 1, metric.WithAttributes(attribute.String("type", string(e.Type))))
	return ack.Sequence, nil
}

// conflict marks a failed compare-and-set.
func conflict(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// withHeader sets a header on a message that is about to be sent.
func withHeader(kv ...string) func(*nats.Msg) {
	return func(m *nats.Msg) {
		for i := 0; i+1 < len(kv); i += 2 {
			m.Header.Set(kv[i], kv[i+1])
		}
	}
}

// stored returns the last message on a subject of a stream, and nil when there
// is none. The leader of the stream answers: a decision, or a compare-and-set,
// on what a server said that lags behind is one on the past. Package jetstream
// sends every read of our streams to any of their servers; the client before it
// still asks the leader.
func (b *Bus) stored(ctx context.Context, stream, subject string) (*nats.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := b.leader.GetLastMsg(stream, subject, nats.Context(ctx))
	switch {
	case errors.Is(err, nats.ErrMsgNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	return m, nil
}

// note counts and logs a message that was rejected, without its content.
func (b *Bus) note(ctx context.Context, subject string, err error) {
	reason := rejectMalformed
	var more []slog.Attr
	if r, ok := errors.AsType[rejection](err); ok {
		reason = r.reason
		if reason == rejectUntrusted {
			more = []slog.Attr{slog.String("key_id", redactKeyID(r.key)), slog.String("remedy", "add the public key of the program that sent it to the trusted keys, with its role")}
		}
	}
	b.rejected.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
	b.log.LogAttrs(ctx, slog.LevelWarn, "event.rejected", append([]slog.Attr{slog.String("subject", subject), slog.String("reason", reason)}, more...)...)
}

// redactKeyID returns the ID of a key as a message gives it, unless it is not one:
// anything else that a stranger wrote stays out of the log.
func redactKeyID(id string) string {
	if len(id) != 2*keyIDBytes || strings.Trim(id, "0123456789abcdef") != "" {
		return "invalid"
	}
	return id
}
