package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// reconciler compares one secret at a time with the bus: it loads what a decision
// depends on, announces a version that the log lacks, and acts on the decision. It
// remembers nothing and is safe for concurrent use.
type reconciler struct {
	cfg   Config
	armed metric.Int64Counter
	// violations counts versions of other programs that break their policy.
	violations metric.Int64Counter
}

// outcome is what the reconciliation of one secret did. Armed and announced are
// valid beside an error too.
type outcome struct {
	version          secret.VersionID // that is current
	decision         Decision
	armed, announced bool
}

// reconcile compares a secret with the bus. timer is whether the bus may hold a
// timer of it; false saves asking.
func (r *reconciler) reconcile(ctx context.Context, spec secret.Spec, f Facts, timer bool) (out outcome, err error) {
	id := spec.ID
	if spec, f, err = r.load(ctx, spec, f, timer); err != nil {
		return out, fmt.Errorf("%s: %w", id, err)
	}
	out.version, out.decision = f.Meta.Current().ID, Evaluate(time.Now(), spec, f)
	var unannounced, unarmed error
	out.announced, unannounced = r.announce(ctx, spec, f)
	out.armed, unarmed = r.act(ctx, spec, f, out.decision)
	if err := errors.Join(unannounced, unarmed); err != nil {
		return out, fmt.Errorf("%s: %w", id, err)
	}
	return out, nil
}

// load reads from the bus what the decision depends on. It reads the store again
// if the timer is of another version than the metadata: either may be older.
func (r *reconciler) load(ctx context.Context, spec secret.Spec, f Facts, timer bool) (secret.Spec, Facts, error) {
	if timer {
		t, err := r.cfg.Bus.Timer(ctx, events.TypeNearExpiry, spec.ID)
		if err != nil && !errors.Is(err, events.ErrUntrusted) {
			return spec, f, err
		}
		f.Timer = t
	}
	if f.Timer.Seq != 0 && f.Timer.Event.Data.VersionID != f.Meta.Current().ID {
		var err error
		if spec, f, err = r.reread(ctx, spec, f); err != nil {
			return spec, f, err
		}
	}
	failed, err := r.cfg.Bus.Last(ctx, events.TypeRotationFailed, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return spec, f, err
	}
	f.Failed = failed.Event.Data
	f.Pause, err = r.cfg.Bus.Pause(ctx, spec.ID)
	return spec, f, err
}

// reread reads the secret from its store again.
func (r *reconciler) reread(ctx context.Context, spec secret.Spec, f Facts) (secret.Spec, Facts, error) {
	now, meta, err := r.cfg.Catalog.Describe(ctx, spec)
	switch {
	case errors.Is(err, secret.ErrNotFound):
		f.Known, f.Meta, f.Deleted = false, secret.Metadata{}, Deletion(err)
		return spec, f, nil
	case err != nil:
		return spec, f, err
	}
	f.Known, f.Meta = true, meta
	return now.Spec, f, nil
}

// Deletion returns what an error of a store says of a secret that was deleted
// there, "" for any other error.
func Deletion(err error) string {
	if errors.Is(err, secret.ErrDeleted) {
		return err.Error()
	}
	return ""
}

// announce publishes the current version if the log lacks it, and reports whether
// it did. It reads the log before it reads the store again, so that an
// announcement in between wins.
func (r *reconciler) announce(ctx context.Context, spec secret.Spec, f Facts) (bool, error) {
	if f.Meta.Current().ID == "" {
		return false, nil
	}
	last, err := r.cfg.Bus.Last(ctx, events.TypeRotated, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return false, err
	}
	if !rollout.Unannounced(f.Meta, last.Event.Data) {
		return false, nil
	}
	now, meta, err := r.cfg.Catalog.Describe(ctx, spec)
	if err != nil || !rollout.Unannounced(meta, last.Event.Data) {
		return false, err
	}
	e := rollout.MissedAnnouncement(r.cfg.Source, time.Now(), now.Spec, meta)
	r.judge(ctx, now.Spec, &e)
	_, err = r.cfg.Bus.PublishAfter(ctx, e, last.Seq)
	if errors.Is(err, events.ErrConflict) {
		return false, nil
	}
	if err == nil {
		r.blame(ctx, e.Data)
	}
	return err == nil, err
}

// act does what was decided, and reports whether it set or moved the timer.
func (r *reconciler) act(ctx context.Context, spec secret.Spec, f Facts, d Decision) (bool, error) {
	switch d.Reason {
	case ReasonNotFound, ReasonNoWindow, ReasonQuarantined, ReasonExpired:
		r.cfg.Logger.LogAttrs(ctx, slog.LevelError, "secret.unschedulable", slog.String("secret_id", string(spec.ID)),
			slog.String("reason", string(d.Reason)), slog.String("message", d.Message))
	case ReasonDeleted: // on purpose, as far as one can tell
		r.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "secret.unschedulable", slog.String("secret_id", string(spec.ID)),
			slog.String("reason", string(d.Reason)), slog.String("message", d.Message))
	default:
	}
	switch {
	case r.cfg.LeaveTimers:
		return false, nil
	case d.Disarm && f.Timer.Seq != 0:
		return false, r.cfg.Bus.Disarm(ctx, events.TypeNearExpiry, spec.ID)
	case d.Arm:
		return r.arm(ctx, spec, f, d)
	default:
		return false, nil
	}
}

// arm sets or moves the timer, and reports whether it changed. A timer that was
// armed since f was loaded stays: its worker read the store later.
func (r *reconciler) arm(ctx context.Context, spec secret.Spec, f Facts, d Decision) (bool, error) {
	e := events.NearExpiry(r.cfg.Source, time.Now(), spec, f.Meta)
	if d.Reason == ReasonExpired {
		e.Data.Reason = events.ReasonExpired
	}
	changed, err := r.cfg.Bus.ArmAfter(ctx, e, d.At, f.Timer)
	if errors.Is(err, events.ErrConflict) {
		return false, nil
	}
	if changed {
		r.armed.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(d.Reason))))
	}
	return changed, err
}
