package eventbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	eb "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/events"
)

// API is the part of EventBridge that a [Publisher] calls; *eventbridge.Client
// is one.
type API interface {
	PutEvents(context.Context, *eb.PutEventsInput, ...func(*eb.Options)) (*eb.PutEventsOutput, error)
}

var _ API = (*eb.Client)(nil)

// Defaults of a [Config].
const (
	// DefaultAttempts is how often an entry is put before Publish gives it back.
	DefaultAttempts = 5
	// DefaultPause is the time to the second attempt; it doubles with each
	// further one.
	DefaultPause = 100 * time.Millisecond
	// DefaultTimeout bounds one request with what the client repeats of it.
	DefaultTimeout = 15 * time.Second
)

// Config is what a [Publisher] needs. The zero value puts events on the
// account's default bus.
type Config struct {
	// Bus is the name or the ARN of the event bus. "" means the default bus.
	Bus string
	// Source is the source of every entry. "" means DefaultSource.
	Source string
	// Attempts is how often an entry that AWS refused in passing is put. 0 means
	// DefaultAttempts, negative once.
	Attempts int
	// Pause is the time to the second attempt. 0 means DefaultPause.
	Pause time.Duration
	// Timeout bounds one request. 0 means DefaultTimeout.
	Timeout time.Duration

	// Nil means slog.Default and the global provider.
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// withDefaults returns c with its zero values replaced.
func (c Config) withDefaults() Config {
	c.Source = cmp.Or(c.Source, DefaultSource)
	c.Attempts = max(cmp.Or(c.Attempts, DefaultAttempts), 1)
	c.Pause, c.Timeout = cmp.Or(c.Pause, DefaultPause), cmp.Or(c.Timeout, DefaultTimeout)
	c.Logger, c.MeterProvider = telemetry.Logger(c.Logger), telemetry.Meters(c.MeterProvider)
	return c
}

// Publisher puts events on an event bus of AWS. It is safe for concurrent use.
type Publisher struct {
	api  API
	cfg  Config
	puts metric.Int64Counter
}

const scope = "github.com/tradepulse/rotator/pkg/eventbridge"

// New returns a Publisher that uses a client as it is. The client repeats
// requests that fail as a whole, as its own configuration says.
func New(api API, cfg Config) (*Publisher, error) {
	cfg = cfg.withDefaults()
	if api == nil {
		return nil, errors.New("eventbridge: a client is required")
	}
	if strings.HasPrefix(cfg.Source, "aws.") || len(cfg.Source) > 256 {
		return nil, errors.New("eventbridge: a source does not begin with aws. and has at most 256 characters")
	}
	m := telemetry.New(cfg.MeterProvider.Meter(scope))
	p := &Publisher{api: api, cfg: cfg}
	p.puts = m.Counter("rotator.eventbridge.entries", "{entry}", "Entries put on the event bus, by type and outcome: taken, repeated, refused.")
	if err := m.Err(); err != nil {
		return nil, fmt.Errorf("eventbridge: %w", err)
	}
	return p, nil
}

// Failure is one event that the event bus did not take.
type Failure struct {
	// Index of the event among those that Publish was given.
	Index int
	// Event is its id.
	Event string
	// Err says why; [events.IsPermanent] when no repetition can help.
	Err error
}

// PublishError is the error of a Publish that not every event survived: those
// that it does not name are on the event bus.
type PublishError struct{ Failures []Failure }

// Error names the first failure and counts the others.
func (e *PublishError) Error() string {
	f := e.Failures[0]
	if n := len(e.Failures) - 1; n > 0 {
		return fmt.Sprintf("publish %s to EventBridge, and %d more: %v", f.Event, n, f.Err)
	}
	return fmt.Sprintf("publish %s to EventBridge: %v", f.Event, f.Err)
}

// Unwrap returns the causes.
func (e *PublishError) Unwrap() []error {
	out := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		out[i] = f.Err
	}
	return out
}

// Publish puts events on the event bus, of the types that [Types] lists, and
// returns when AWS has taken all of them. It repeats entries that AWS refused in
// passing, and only those. The error is a [*PublishError] that names the events
// that were not taken. The trace of ctx goes with each entry.
func (p *Publisher) Publish(ctx context.Context, es ...events.Event) error {
	items := make([]item, len(es))
	for i, e := range es {
		items[i] = item{ctx: ctx, event: e}
	}
	if err := p.publish(ctx, items); err != nil {
		return err // not the pointer itself, which is an error even when nil
	}
	return nil
}

// item is an event on its way with the trace that it belongs to.
type item struct {
	ctx   context.Context //nolint:containedctx // carries a trace and ends nothing
	event events.Event

	index int
	entry types.PutEventsRequestEntry
}

func (p *Publisher) publish(ctx context.Context, items []item) *PublishError {
	var failed []Failure
	var ready []item
	for i, it := range items {
		it.index = i
		var err error
		if it.entry, err = p.entry(it.ctx, it.event); err != nil {
			failed = append(failed, p.refuse(ctx, it, err))
			continue
		}
		ready = append(ready, it)
	}
	for len(ready) > 0 {
		n := batch(ready)
		failed = append(failed, p.put(ctx, ready[:n])...)
		ready = ready[n:]
	}
	if len(failed) > 0 {
		return &PublishError{Failures: failed}
	}
	return nil
}

// batch returns how many of the items go into the next request.
func batch(items []item) int {
	total := 0
	for i, it := range items {
		total += size(it.entry)
		if i == maxEntries || i > 0 && total >= maxBytes {
			return i
		}
	}
	return len(items)
}

// put puts one batch, and again what AWS refused of it in passing.
func (p *Publisher) put(ctx context.Context, items []item) []Failure {
	var failed []Failure
	for attempt := 1; ; attempt++ {
		refusals, err := p.request(ctx, items)
		if err != nil {
			return append(failed, p.all(ctx, items, err)...)
		}
		var again []item
		for i, it := range items {
			cause := refusals[i]
			switch {
			case cause == nil:
				p.count(ctx, it, "taken")
			case transient(cause) && attempt < p.cfg.Attempts:
				p.count(ctx, it, "repeated")
				again = append(again, it)
			default:
				failed = append(failed, p.refuse(ctx, it, cause))
			}
		}
		if items = again; len(items) == 0 {
			return failed
		}
		backoff.Pause(ctx, retryPause(items[0].event, attempt, p.cfg.Pause, maxPause))
	}
}

// all returns what becomes of entries whose request failed as a whole, which the
// client has repeated if it may. When AWS finds the request itself at fault, one
// entry may be to blame, so each is put alone.
func (p *Publisher) all(ctx context.Context, items []item, err error) []Failure {
	code, invalid := invalidRequest(err)
	var failed []Failure
	for _, it := range items {
		switch {
		case !invalid:
			failed = append(failed, p.refuse(ctx, it, err))
		case len(items) == 1:
			failed = append(failed, p.refuse(ctx, it, &EntryError{Code: code, Message: short(err.Error())}))
		default:
			failed = append(failed, p.put(ctx, []item{it})...)
		}
	}
	return failed
}

// request makes one request and returns why AWS refused which entry, nil for
// one that it took.
func (p *Publisher) request(ctx context.Context, items []item) ([]error, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	in := &eb.PutEventsInput{Entries: make([]types.PutEventsRequestEntry, len(items))}
	for i, it := range items {
		in.Entries[i] = it.entry
	}
	out, err := p.api.PutEvents(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("put events: %w", err)
	}
	if len(out.Entries) != len(items) {
		return nil, fmt.Errorf("put events: AWS answered %d entries with %d results", len(items), len(out.Entries))
	}
	refusals := make([]error, len(items))
	for i, r := range out.Entries {
		refusals[i] = refusal(r)
	}
	return refusals, nil
}

func (p *Publisher) refuse(ctx context.Context, it item, err error) Failure {
	p.count(ctx, it, "refused")
	return Failure{Index: it.index, Event: it.event.ID, Err: err}
}

func (p *Publisher) count(ctx context.Context, it item, outcome string) {
	p.puts.Add(ctx, 1, metric.WithAttributes(attribute.String("type", string(it.event.Type)), attribute.String("outcome", outcome)))
}

// maxPause bounds the time between two attempts.
const maxPause = 5 * time.Second
