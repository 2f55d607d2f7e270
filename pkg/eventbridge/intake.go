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

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Reconciler compares one secret in its store with the bus, now, as a sweep does;
// *scheduler.Scheduler is one. Any program that can write to the queue can call
// it, so it must base every decision on the store.
type Reconciler interface {
	Reconcile(ctx context.Context, id secret.ID) error
	// ReconcilePath is for the secret that is discovered at a path of a store, if
	// any is.
	ReconcilePath(ctx context.Context, store, path string) error
}

// DefaultReconcileTimeout is [IntakeConfig.Timeout] unless a configuration says
// otherwise.
const DefaultReconcileTimeout = 20 * time.Second

// IntakeConfig is what an [Intake] needs. Reconciler and Secrets are required.
type IntakeConfig struct {
	Reconciler Reconciler
	// Secrets returns the configured secrets of Secrets Manager that have a path:
	// more than one where stores of several accounts or regions have one of that
	// name.
	Secrets func(path string) []secret.ID
	// Discovering returns the stores of Secrets Manager in which a secret that
	// has no configuration may be discovered at a path. Nil means none.
	Discovering func(path string) []string
	// Reads is called with each read of values that CloudTrail logs. Nil ignores
	// them.
	Reads func(ctx context.Context, r Read) error
	// Timeout bounds the reconciliation of one secret. 0 means
	// DefaultReconcileTimeout.
	Timeout time.Duration

	// Nil means slog.Default and the global provider.
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// withDefaults returns c with its zero values replaced.
func (c IntakeConfig) withDefaults() IntakeConfig {
	c.Timeout = cmp.Or(c.Timeout, DefaultReconcileTimeout)
	c.Logger, c.MeterProvider = telemetry.Logger(c.Logger), telemetry.Meters(c.MeterProvider)
	return c
}

// Intake takes what EventBridge delivers about Secrets Manager. It is safe for
// concurrent use.
type Intake struct {
	cfg   IntakeConfig
	hints metric.Int64Counter
}

// NewIntake returns an Intake.
func NewIntake(cfg IntakeConfig) (*Intake, error) {
	cfg = cfg.withDefaults()
	if cfg.Reconciler == nil || cfg.Secrets == nil {
		return nil, errors.New("eventbridge: Reconciler and Secrets are required")
	}
	m := telemetry.New(cfg.MeterProvider.Meter(scope))
	i := &Intake{cfg: cfg}
	i.hints = m.Counter("rotator.eventbridge.hints", "{event}",
		"Events of Secrets Manager that arrived, by event and outcome: reconciled, read, not_ours, ignored, malformed, oversized, nameless, failed.")
	if err := m.Err(); err != nil {
		return nil, fmt.Errorf("eventbridge: %w", err)
	}
	return i, nil
}

// Handle takes one event as EventBridge delivers it, in JSON, and reconciles every
// secret that it names and that is configured or may be discovered. It uses
// nothing else of the event, so repeated, reordered or forged events cause reads
// only. The event of a read it hands to IntakeConfig.Reads. Its error is the outcome: nil is done, [events.Permanent] can never be
// handled, any other is to be delivered again.
func (i *Intake) Handle(ctx context.Context, body []byte) error {
	h, ok, err := parseHint(body)
	switch {
	case err != nil:
		return i.reject(ctx, len(body), err)
	case !ok:
		if read, err := i.sighted(ctx, body); read {
			return err
		}
		i.count(ctx, "", "ignored")
		return nil
	}
	candidates := append(i.configured(h), i.discoverable(h)...)
	if len(candidates) == 0 {
		i.count(ctx, h.event, "not_ours")
		return nil
	}
	var errs []error
	for _, c := range candidates {
		errs = append(errs, i.reconcile(ctx, h, c))
	}
	return errors.Join(errs...)
}

// candidate is one secret or place that a hint may be about.
type candidate struct {
	what      string // for people
	attr      slog.Attr
	reconcile func(context.Context) error
}

// configured returns the configured secrets that a hint may be about, each once.
func (i *Intake) configured(h hint) []candidate {
	var out []candidate
	seen := map[secret.ID]bool{}
	for _, path := range h.paths() {
		for _, id := range i.cfg.Secrets(path) {
			if seen[id] {
				continue
			}
			seen[id] = true
			out = append(out, candidate{string(id), slog.String("secret_id", string(id)), func(ctx context.Context) error { return i.cfg.Reconciler.Reconcile(ctx, id) }})
		}
	}
	return out
}

// discoverable returns the places at which a secret that a hint names may be
// discovered. An event of AWS names one secret, in a few ways. One that names many
// is forged, and is bounded to the cost of a real one.
func (i *Intake) discoverable(h hint) []candidate {
	if i.cfg.Discovering == nil {
		return nil
	}
	paths := slices.DeleteFunc(h.paths(), func(path string) bool {
		return strings.HasPrefix(path, "arn:") || secret.ID(path).Validate() != nil
	})
	var out []candidate
	for _, path := range paths[:min(len(paths), maxPlaces)] {
		for _, name := range i.cfg.Discovering(path) {
			out = append(out, candidate{"a secret in the store " + name, slog.String("store", name), func(ctx context.Context) error { return i.cfg.Reconciler.ReconcilePath(ctx, name, path) }})
		}
	}
	return out
}

// maxPlaces bounds at how many paths the secrets of one event are discovered.
const maxPlaces = 3

func (i *Intake) reconcile(ctx context.Context, h hint, c candidate) error {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	attrs := []slog.Attr{c.attr, slog.String("event", h.event)}
	if err := c.reconcile(ctx); err != nil {
		i.count(ctx, h.event, "failed")
		i.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "eventbridge.reconcile_failed", append(attrs, slog.String("error", err.Error()))...)
		return fmt.Errorf("eventbridge: reconcile %s: %w", c.what, err)
	}
	i.count(ctx, h.event, "reconciled")
	i.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "eventbridge.reconciled", attrs...)
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
