package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// ErrBlocked means that the version before may not be retired yet: an instance
// does not run the new one, or its time has not come.
var ErrBlocked = errors.New("still in use")

const (
	// retireRetry is how soon a retirement that is blocked is looked at again.
	retireRetry = time.Minute
	// clockSkew is by how much the clock of the server, which fires the timer,
	// may be ahead of ours.
	clockSkew = time.Second
)

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
	spec, st, err := r.Catalog.Find(ctx, want.SecretID)
	if err != nil {
		return stepError{StepRead, judge(want, err)}
	}
	log, err := r.Bus.Last(ctx, events.TypeRollout, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return stepError{StepRead, err}
	}
	spec, meta, err := r.Catalog.Describe(ctx, spec)
	if err != nil {
		return stepError{StepRead, judge(want, err)}
	}
	if meta.Current().ID != want.VersionID {
		return nil // superseded: the rollout of the next version retires both
	}
	if err := mayRetire(want, log.Event.Data, time.Now()); err != nil {
		return stepError{stepProve, err}
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

// mayRetire returns nil if the last rollout event, logged, says that the rollout
// that the order names has converged and that its grace period is over. The
// order itself may be older than what has happened since: an instance with
// another version may have appeared, the version may have been announced again,
// or the log may have been lost. Each of these blocks; the notifier orders the
// retirement again once the rollout has converged.
func mayRetire(order, logged events.Data, now time.Time) error {
	blocked := func(format string, args ...any) error {
		return events.RetryAfter(fmt.Errorf("%w: %s", ErrBlocked, fmt.Sprintf(format, args...)), retireRetry)
	}
	ro := logged.Rollout
	switch {
	case ro == nil:
		return blocked("the log has no rollout of the secret")
	case logged.VersionID != order.VersionID:
		return blocked("the last rollout in the log is that of version %s", logged.VersionID)
	case order.Rollout == nil || !ro.StartedAt.Equal(order.Rollout.StartedAt):
		return blocked("the version was announced again at %s", ro.StartedAt.UTC().Format(time.RFC3339))
	case ro.State == events.RolloutRetired:
		return nil // an earlier run got this far
	case ro.State != events.RolloutConverged:
		return blocked("its rollout is %s", ro.State)
	case ro.RetireAt.IsZero():
		return blocked("its rollout has no time of retirement")
	}
	if left := ro.RetireAt.Sub(now.Add(clockSkew)); left > 0 {
		return events.RetryAfter(fmt.Errorf("%w: its grace period lasts another %s", ErrBlocked, left.Round(time.Second)), left)
	}
	return nil
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
	blocking, applied := events.Blocking(reports, spec.Services, spec.ID, v)
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
	data := want
	data.OccurredAt, data.Attempt, data.Failure = time.Now(), 0, nil
	ro := events.Rollout{}
	if want.Rollout != nil {
		ro = *want.Rollout
	}
	ro.State, ro.Applied, ro.Blocking, ro.BlockingTotal = events.RolloutRetired, applied, nil, 0
	data.Rollout = &ro
	if _, err := r.Bus.PublishAfter(ctx, events.RolloutChanged(r.Source, data), log.Seq); err != nil {
		return stepError{StepAnnounce, err}
	}
	return nil
}
