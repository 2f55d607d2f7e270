package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// errBlocked means that the previous version may not be retired yet: an instance
// does not run the new one, or the rollout has not converged for long enough.
var errBlocked = errors.New("still in use")

// retireRetry is how soon a retirement that is blocked is tried again.
const retireRetry = time.Minute

// The steps of a retirement that a rotation does not have.
const (
	stepProve  = "prove"
	stepRevoke = "revoke"
	stepRetire = "retire"
)

// retire retires every version before the one that the order names, if that one
// is current and the reports, read afresh, say that every live instance of every
// subscriber runs it (invariant 5). The order itself proves nothing.
func (r *Rotator) retire(ctx context.Context, order events.Data) error {
	ctx, span := r.tracer.Start(ctx, "retire")
	defer span.End()
	err := r.tryRetire(ctx, order)
	if err == nil {
		return nil
	}
	f, final := failure(err), permanent(err)
	r.failures.Add(ctx, 1, failureAttributes(f.Step, f.Code, final))
	level := slog.LevelWarn
	if final {
		level, err = slog.LevelError, events.Permanent(err)
	}
	r.log.LogAttrs(ctx, level, "secret.retire_failed", slog.Bool("final", final), slog.String("secret_id", string(order.SecretID)),
		slog.String("version_id", string(order.PreviousVersionID)), slog.String("error", err.Error()))
	return err
}

// tryRetire reads the log before the store: an event that is published in between
// makes announceRetired fail, and the next run starts from it.
func (r *Rotator) tryRetire(ctx context.Context, order events.Data) error {
	spec, st, err := r.find(ctx, order.SecretID)
	if err != nil {
		return stepError{stepRead, escalate(order.Retry, err)}
	}
	log, err := r.cfg.Bus.Last(ctx, events.TypeRollout, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return stepError{stepRead, err}
	}
	spec, meta, err := r.describe(ctx, spec)
	if err != nil {
		return stepError{stepRead, escalate(order.Retry, err)}
	}
	if meta.Current().ID != order.VersionID {
		return nil // superseded: the rollout of the next version retires both
	}
	if v := rollout.MayRetire(order, log.Event.Data, time.Now()); !v.Allowed() {
		return stepError{stepProve, events.RetryAfter(fmt.Errorf("%w: %s", errBlocked, v.Because), cmp.Or(v.Wait, retireRetry))}
	}
	applied, err := r.proveUse(ctx, spec, order.VersionID)
	if err != nil {
		return stepError{stepProve, events.RetryAfter(err, retireRetry)}
	}
	if err := r.retireVersions(ctx, spec, st, meta); err != nil {
		return err
	}
	return r.announceRetired(ctx, order, log, applied)
}

// proveUse returns how many instances run the version. The error wraps errBlocked
// unless all of them do.
func (r *Rotator) proveUse(ctx context.Context, spec secret.Spec, v secret.VersionID) (int, error) {
	reports, err := r.cfg.Bus.Reports(ctx)
	if err != nil {
		return 0, err
	}
	blocking, applied := rollout.Blocking(reports, spec.Services, spec.ID, v)
	if len(blocking) > 0 {
		return 0, fmt.Errorf("%w: %d block, first %s", errBlocked, len(blocking), blocking[0])
	}
	return applied, nil
}

// retirable returns the versions before the current one that still have a stage
// or a value.
func retirable(m secret.Metadata) []secret.Version {
	var out []secret.Version
	for _, v := range m.Versions {
		switch v.Stage {
		case secret.StageCurrent, secret.StagePending:
		case secret.StageRetired:
			if !v.Empty && !v.Kept {
				out = append(out, v)
			}
		default:
			out = append(out, v)
		}
	}
	return out
}

// retireVersions revokes each version at the target and then retires it in the
// store. A crash in between leaves it in the store, so the next run revokes it
// again.
func (r *Rotator) retireVersions(ctx context.Context, spec secret.Spec, st *store.Store, meta secret.Metadata) error {
	t, err := r.targetFor(ctx, spec)
	if err != nil {
		return stepError{stepRevoke, err}
	}
	for _, v := range retirable(meta) {
		if err := t.Revoke(ctx, target.Ref{Secret: spec.ID, Version: v.ID}, target.Drain{}); err != nil {
			return stepError{stepRevoke, err}
		}
		if err := st.Retire(ctx, spec.StorePath(), v.ID, spec.RetireMode()); err != nil {
			return stepError{stepRetire, err}
		}
		r.retired.Add(ctx, 1)
		r.log.LogAttrs(ctx, slog.LevelInfo, "secret.retired", slog.String("secret_id", string(spec.ID)), slog.String("version_id", string(v.ID)),
			slog.String("mode", string(spec.RetireMode())))
	}
	return nil
}

// announceRetired closes the rollout, unless an earlier run has. It follows the
// event that the run read, so that of two workers one announces.
func (r *Rotator) announceRetired(ctx context.Context, order events.Data, log events.Announcement, applied int) error {
	last := log.Event.Data
	if last.VersionID == order.VersionID && last.Rollout != nil && last.Rollout.State == events.RolloutRetired {
		return nil
	}
	if _, err := r.cfg.Bus.PublishAfter(ctx, rollout.Retired(r.cfg.Source, time.Now(), order, applied), log.Seq); err != nil {
		return stepError{stepAnnounce, err}
	}
	return nil
}
