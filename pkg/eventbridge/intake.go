package eventbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Looker looks at one secret in its store, now, and does what a sweep would do
// about it; *scheduler.Scheduler is one. It may be asked by any sender that can write to a
// queue, so all that it does must rest on what it reads.
type Looker interface {
	Look(ctx context.Context, id secret.ID) error
	// LookAt is about what is discovered at a path of a store, if anything is.
	LookAt(ctx context.Context, store, path string) error
}

// DefaultLookTimeout is [IntakeConfig.Timeout] unless a configuration says
// otherwise.
const DefaultLookTimeout = 20 * time.Second

// IntakeConfig is what an [Intake] needs. Looker and Secrets are required.
type IntakeConfig struct {
	Looker Looker
	// Secrets returns the configured secrets of Secrets Manager that have a path,
	// see [Paths]: more than one where stores of several accounts or regions
	// have one of that name.
	Secrets func(path string) []secret.ID
	// Discovering returns the stores of Secrets Manager in which a secret that
	// has no configuration may be discovered at a path. Nil means none.
	Discovering func(path string) []string
	// Timeout bounds the look at one secret. 0 means DefaultLookTimeout.
	Timeout time.Duration

	// Nil means slog.Default and the global provider.
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// Intake takes what EventBridge delivers about Secrets Manager. It is safe for
// concurrent use.
type Intake struct {
	cfg   IntakeConfig
	hints metric.Int64Counter
}

// NewIntake returns an Intake.
func NewIntake(cfg IntakeConfig) (*Intake, error) {
	if cfg.Looker == nil || cfg.Secrets == nil {
		return nil, errors.New("eventbridge: Looker and Secrets are required")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultLookTimeout)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	hints, err := cfg.MeterProvider.Meter(scope).Int64Counter("rotator.eventbridge.hints",
		metric.WithDescription("Events of Secrets Manager that arrived, by event and outcome: looked, not_ours, ignored, malformed, oversized, nameless, failed."),
		metric.WithUnit("{event}"))
	if err != nil {
		return nil, fmt.Errorf("eventbridge: %w", err)
	}
	return &Intake{cfg: cfg, hints: hints}, nil
}

// Handle takes one event as EventBridge delivers it, in JSON, and has every
// secret looked at that it names and that is configured or may be discovered.
// Nothing else in it is used, so a sender that repeats, reorders or forges events
// causes reads. Its error is the outcome: nil is done, [events.Permanent] is no
// event that could ever be handled, any other is to be delivered again.
func (i *Intake) Handle(ctx context.Context, body []byte) error {
	h, ok, err := parseHint(body)
	switch {
	case err != nil:
		return i.reject(ctx, len(body), err)
	case !ok:
		i.count(ctx, "", "ignored")
		return nil
	}
	looks := append(i.configured(h), i.discovering(h)...)
	if len(looks) == 0 {
		i.count(ctx, h.event, "not_ours")
		return nil
	}
	var errs []error
	for _, l := range looks {
		errs = append(errs, i.look(ctx, h, l))
	}
	return errors.Join(errs...)
}

// look is one thing to look at.
type look struct {
	what string // for people
	attr slog.Attr
	do   func(context.Context) error
}

// configured returns the configured secrets that a hint may be about, each once.
func (i *Intake) configured(h hint) []look {
	var out []look
	seen := map[secret.ID]bool{}
	for _, path := range h.paths() {
		for _, id := range i.cfg.Secrets(path) {
			if seen[id] {
				continue
			}
			seen[id] = true
			out = append(out, look{string(id), slog.String("secret_id", string(id)), func(ctx context.Context) error { return i.cfg.Looker.Look(ctx, id) }})
		}
	}
	return out
}

// discovering returns the places at which a hint may have a secret discovered.
// An event is about one secret, which it writes in some ways; one that names
// many is not from AWS, and costs no more than another.
func (i *Intake) discovering(h hint) []look {
	if i.cfg.Discovering == nil {
		return nil
	}
	paths := slices.DeleteFunc(h.paths(), func(path string) bool {
		return strings.HasPrefix(path, "arn:") || secret.ID(path).Validate() != nil
	})
	var out []look
	for _, path := range paths[:min(len(paths), maxPlaces)] {
		for _, name := range i.cfg.Discovering(path) {
			out = append(out, look{"a secret in the store " + name, slog.String("store", name), func(ctx context.Context) error { return i.cfg.Looker.LookAt(ctx, name, path) }})
		}
	}
	return out
}

// maxPlaces bounds at how many paths one event has secrets discovered.
const maxPlaces = 3

func (i *Intake) look(ctx context.Context, h hint, l look) error {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	attrs := []slog.Attr{l.attr, slog.String("event", h.event)}
	if err := l.do(ctx); err != nil {
		i.count(ctx, h.event, "failed")
		i.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "eventbridge.look_failed", append(attrs, slog.String("error", err.Error()))...)
		return fmt.Errorf("eventbridge: look at %s: %w", l.what, err)
	}
	i.count(ctx, h.event, "looked")
	i.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "eventbridge.looked", attrs...)
	return nil
}

// reject counts and logs what is no event, without its content.
func (i *Intake) reject(ctx context.Context, size int, err error) error {
	reason := "malformed"
	switch {
	case errors.Is(err, errOversized):
		reason = "oversized"
	case errors.Is(err, errNameless):
		reason = "nameless"
	}
	i.count(ctx, "", reason)
	i.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "eventbridge.rejected", slog.String("reason", reason), slog.Int("bytes", size))
	return events.Permanent(fmt.Errorf("eventbridge: %w", err))
}

func (i *Intake) count(ctx context.Context, event, outcome string) {
	i.hints.Add(ctx, 1, metric.WithAttributes(attribute.String("event", event), attribute.String("outcome", outcome)))
}
