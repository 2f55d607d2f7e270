package scheduler

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

// logGone logs that a discovered secret is not managed any more.
func (s *Scheduler) logGone(ctx context.Context, spec secret.Spec) {
	s.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "secret.gone", slog.String("secret_id", string(spec.ID)), slog.String("store", spec.Store), slog.String("path", spec.Path))
}

// logFindings logs the findings about the secret at a path of a store.
func (s *Scheduler) logFindings(ctx context.Context, store, path string, e catalog.Entry) {
	s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "discovery.problem", slog.String("store", store), slog.String("path", path),
		slog.String("secret_id", string(e.Spec.ID)), slog.String("problem", findingsText(e)))
}

// findingsText returns the findings about a secret on one line.
func findingsText(e catalog.Entry) string {
	texts := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		texts[i] = f.String()
	}
	return strings.Join(texts, "; ")
}

// observe records and logs what a sweep did.
func (s *Scheduler) observe(ctx context.Context, r Result, took time.Duration, err error) {
	s.swept.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.Bool("ok", err == nil)))
	level := slog.LevelDebug
	if r.Armed > 0 || r.Announced > 0 || r.Discovered > 0 || r.Gone > 0 {
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{slog.Int("secrets", r.total()), slog.Int("armed", r.Armed), slog.Int("announced", r.Announced),
		slog.Int("discovered", r.Discovered), slog.Int("gone", r.Gone), slog.Duration("took", took)}
	if err != nil {
		level, attrs = slog.LevelError, append(attrs, slog.String("error", err.Error()))
	}
	s.cfg.Logger.LogAttrs(ctx, level, "sweep.done", attrs...)
}
