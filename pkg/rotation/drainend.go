package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// errDrainOverdue means that the deadline of the drain has passed. It is an errBlocked
// that a person has to hear of.
var errDrainOverdue = fmt.Errorf("%w after the deadline of the drain", errBlocked)

// drainDeadline returns when sessions at the target should have ended, zero for never.
func drainDeadline(spec secret.Spec, logged events.Data) time.Time {
	if spec.DrainDeadline() == 0 {
		return time.Time{}
	}
	return logged.Rollout.RetireAt.Add(spec.DrainDeadline())
}

// blockedSince returns errBlocked, or errDrainOverdue after the deadline. Where sessions
// are ended, these have the window to stay away first.
func blockedSince(spec secret.Spec, logged events.Data, now time.Time) error {
	at := drainDeadline(spec, logged)
	if spec.DrainMode() != secret.DrainWait {
		at = at.Add(max(0, spec.GracePeriod()) + retireRetry)
	}
	if drainDeadline(spec, logged).IsZero() || now.Before(at) {
		return errBlocked
	}
	return errDrainOverdue
}

// end ends sessions of versions that are to be retired, if that is configured and the
// deadline has passed. The versions stay valid: a client that opens a session again
// needs its version, and holds the retirement back.
func (r *Rotator) end(ctx context.Context, spec secret.Spec, t target.Target, versions []secret.VersionID, logged events.Data, now time.Time) error {
	at := drainDeadline(spec, logged)
	if spec.DrainMode() == secret.DrainWait || at.IsZero() || now.Before(at) {
		return nil
	}
	e, ok := t.(target.Ender)
	if !ok {
		return errors.New("the target cannot end sessions, so use drain: wait")
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.TargetTimeout)
	defer cancel()
	for _, v := range versions {
		if err := e.End(ctx, target.Ref{Secret: spec.ID, Version: v}, spec.DrainMode() == secret.DrainEndIdle); err != nil {
			return fmt.Errorf("end sessions of version %s: %w", v, err)
		}
	}
	r.log.LogAttrs(ctx, slog.LevelWarn, "secret.sessions_ended", slog.String("secret_id", string(spec.ID)), slog.String("drain", string(spec.DrainMode())))
	return nil
}
