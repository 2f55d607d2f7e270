package scheduler

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// judge checks the version that e announces against the policy of its secret if another
// program wrote it, and notes in e which rules it breaks, or that it was not checked. The version is announced
// whatever they are: it is in the store, and services have it already or will.
func (r *reconciler) judge(ctx context.Context, spec secret.Spec, e *events.Event) {
	st, ok := r.cfg.Stores.Get(spec.Store)
	if !ok || e.Data.Reason != events.ReasonExternal {
		return
	}
	rules, err := st.Broken(ctx, spec, e.Data.VersionID)
	if err != nil {
		r.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "secret.policy_unchecked", slog.String("secret_id", string(spec.ID)),
			slog.String("version_id", string(e.Data.VersionID)), slog.String("error", err.Error()),
			slog.String("message", "unchecked: another program wrote the version, and whether it satisfies the policy is not known"))
	}
	e.Data.Violations, e.Data.Unchecked = rules, err != nil
}

// blame logs and counts an announced version that breaks its policy.
func (r *reconciler) blame(ctx context.Context, d events.Data) {
	if len(d.Violations) == 0 {
		return
	}
	r.violations.Add(ctx, 1, metric.WithAttributes(attribute.String("secret.id", string(d.SecretID))))
	r.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "secret.policy_violated", slog.String("secret_id", string(d.SecretID)),
		slog.String("version_id", string(d.VersionID)), slog.Any("rules", d.Violations),
		slog.String("message", "another program wrote a version that breaks the policy; rotate the secret, or write another one"))
}
