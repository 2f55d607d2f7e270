package eventbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Looker looks at one secret in its store, now, and does what a sweep would do
// about it; *scheduler.Scheduler is one. It is asked by whoever can write to a
// queue, so all that it does must rest on what it reads.
type Looker interface {
	Look(ctx context.Context, id secret.ID) error
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
// configured secret that it names looked at. Nothing else in it is used, so
// whoever repeats, reorders or forges events causes reads. Its error is the
// outcome: nil is done, [events.Permanent] is no event that could ever be
// handled, any other is to be delivered again.
func (i *Intake) Handle(ctx context.Context, body []byte) error {
	h, ok, err := parseHint(body)
	switch {
	case err != nil:
		return i.reject(ctx, len(body), err)
	case !ok:
		i.count(ctx, "", "ignored")
		return nil
	}
	ids := i.ids(h)
	if len(ids) == 0 {
		i.count(ctx, h.event, "not_ours")
		return nil
	}
	var errs []error
	for _, id := range ids {
		errs = append(errs, i.look(ctx, h, id))
	}
	return errors.Join(errs...)
}

// ids returns the configured secrets that a hint may be about, each once.
func (i *Intake) ids(h hint) []secret.ID {
	var out []secret.ID
	seen := map[secret.ID]bool{}
	for _, name := range h.names {
		for _, path := range Paths(name) {
			for _, id := range i.cfg.Secrets(path) {
				if !seen[id] {
					seen[id], out = true, append(out, id)
				}
			}
		}
	}
	return out
}

func (i *Intake) look(ctx context.Context, h hint, id secret.ID) error {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	attrs := []slog.Attr{slog.String("secret_id", string(id)), slog.String("event", h.event)}
	if err := i.cfg.Looker.Look(ctx, id); err != nil {
		i.count(ctx, h.event, "failed")
		i.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "eventbridge.look_failed", append(attrs, slog.String("error", err.Error()))...)
		return fmt.Errorf("eventbridge: look at %s: %w", id, err)
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
