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
)

// ErrBlocked means that the version before may not be retired yet: an instance
// does not run the new one, or its time has not come.
var ErrBlocked = errors.New("still in use")

// retireRetry is how soon a retirement that is blocked is tried again.
const retireRetry = time.Minute

// Retire retires every version before the one that want names, if that is
// still current and the reports, read afresh, still say that every live
// instance of every subscriber runs it (invariant 5). The event that asks for
// it proves nothing: it is a reminder to look.
func (r *Rotator) Retire(ctx context.Context, want events.Data) error {
	ctx, span := r.tracer.Start(ctx, "retire")
	defer span.End()
	err := r.retire(ctx, want)
	if err == nil {
		return nil
	}
	f, final := failure(err), permanent(err)
	r.failures.Add(ctx, 1, failed(Step(f.Step), f.Code, final))
	level := slog.LevelWarn
	if final {
		level, err = slog.LevelError, events.Permanent(err)
	}
	r.log.LogAttrs(ctx, level, "secret.retire_failed", slog.Bool("final", final), slog.String("secret_id", string(want.SecretID)), slog.String("version_id", string(want.PreviousVersionID)),
		slog.String("error", err.Error()))
	return err
}

func (r *Rotator) retire(ctx context.Context, want events.Data) error {
	spec, st, err := r.find(ctx, want.SecretID)
	if err != nil {
		return stepError{StepRead, judge(want, err)}
	}
	log, err := r.Bus.Last(ctx, events.TypeRollout, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return stepError{StepRead, err}
	}
	spec, meta, err := r.describe(ctx, spec)
	if err != nil {
		return stepError{StepRead, judge(want, err)}
	}
	if meta.Current().ID != want.VersionID {
		return nil // superseded: the rollout of the next version retires both
	}
	if v := rollout.MayRetire(want, log.Event.Data, time.Now()); !v.Allowed() {
		return stepError{stepProve, events.RetryAfter(fmt.Errorf("%w: %s", ErrBlocked, v.Because), cmp.Or(v.Wait, retireRetry))}
	}
	applied, err := r.provenUse(ctx, spec, want.VersionID)
	if err != nil {
		return stepError{stepProve, events.RetryAfter(err, retireRetry)}
	}
	for _, v := range retirable(meta) {
		if err := r.retireVersion(ctx, spec, st, v); err != nil {
			return stepError{stepRetire, err}
		}
	}
	return r.announceRetired(ctx, want, log, applied)
}

// The steps of a retirement that a rotation does not have.
const (
	stepProve  Step = "prove"
	stepRetire Step = "retire"
)

// provenUse returns how many instances run the version, and an error that wraps
// ErrBlocked unless all do.
func (r *Rotator) provenUse(ctx context.Context, spec secret.Spec, v secret.VersionID) (int, error) {
	reports, err := r.Bus.Reports(ctx)
	if err != nil {
		return 0, err
	}
	blocking, applied := rollout.Blocking(reports, spec.Services, spec.ID, v)
	if len(blocking) > 0 {
		return 0, fmt.Errorf("%w: %d block, first %s", ErrBlocked, len(blocking), blocking[0])
	}
	return applied, nil
}

// retirable returns the versions that came before the current one and still
// have a stage or a value.
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

func (r *Rotator) retireVersion(ctx context.Context, spec secret.Spec, st *store.Store, v secret.Version) error {
	if err := st.Retire(ctx, spec.StorePath(), v.ID, spec.RetireMode()); err != nil {
		return err
	}
	r.retired.Add(ctx, 1)
	r.log.LogAttrs(ctx, slog.LevelInfo, "secret.retired", slog.String("secret_id", string(spec.ID)), slog.String("version_id", string(v.ID)),
		slog.String("mode", string(spec.RetireMode())))
	return nil
}

// announceRetired closes the rollout, unless an earlier run has.
func (r *Rotator) announceRetired(ctx context.Context, want events.Data, log events.Announcement, applied int) error {
	last := log.Event.Data
	if last.VersionID == want.VersionID && last.Rollout != nil && last.Rollout.State == events.RolloutRetired {
		return nil
	}
	if _, err := r.Bus.PublishAfter(ctx, rollout.Retired(r.Source, time.Now(), want, applied), log.Seq); err != nil {
		return stepError{StepAnnounce, err}
	}
	return nil
}
