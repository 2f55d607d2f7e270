package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// checkRoom returns an error that wraps errBlocked while a target with room for two
// credentials has the current one and an older one that is not retired: a third would
// take the place of one that a process may use. An emergency does not wait. Nor does a
// supplied value that is the older one's own, as that of a rollback.
func (x *run) checkRoom(ctx context.Context, t target.Target) error {
	switch t.Capabilities().Overlap {
	case target.OverlapDual, target.OverlapAlternate:
	default:
		return nil
	}
	if x.state.try.Reason == events.ReasonEmergency || x.state.try.Priority == events.PriorityEmergency {
		return nil
	}
	older, err := x.unretired(ctx)
	if err != nil || older == "" {
		return err
	}
	if same, err := x.suppliedAgain(ctx, older); err != nil || same {
		return err
	}
	return events.RetryAfter(fmt.Errorf("%w: version %s is not retired, and the target has room for two credentials", errBlocked, older), retireRetry)
}

// unretired returns the version before the current one that may still be valid at the
// target, "" for none. A retirement takes the stage away before it proves, revokes and
// retires, and its rollout may fall back from draining: the version is retired once the
// log says so. Without an answer of the log there is room only if the store lists no
// other version.
func (x *run) unretired(ctx context.Context) (secret.VersionID, error) {
	if v, ok := x.state.meta.At(secret.StagePrevious); ok {
		return v.ID, nil
	}
	if x.state.try.From == "" {
		return "", nil
	}
	last, err := x.r.cfg.Bus.Last(ctx, events.TypeRollout, x.state.try.Secret)
	switch d := last.Event.Data; {
	case err == nil && d.Rollout != nil && d.VersionID == x.state.try.From:
		if d.Rollout.State == events.RolloutRetired {
			return "", nil
		}
		return d.PreviousVersionID, nil
	case err == nil:
		return x.older(func(v secret.Version) bool { return !v.Kept && !v.Empty }), nil
	case !errors.Is(err, ErrNoLog) && !errors.Is(err, events.ErrUntrusted):
		return "", err
	case x.older(func(secret.Version) bool { return true }) == "":
		return "", nil
	}
	return "", events.RetryAfter(fmt.Errorf("%w: whether an older version is retired is unknown, and the target has room for two credentials: %w", errBlocked, err), retireRetry)
}

// older returns a retired version that this rotation has not made and that counts.
func (x *run) older(counts func(secret.Version) bool) secret.VersionID {
	for _, v := range x.state.meta.Versions {
		if v.Stage == secret.StageRetired && !x.state.made(v) && counts(v) {
			return v.ID
		}
	}
	return ""
}

// suppliedAgain reports whether a person has supplied the value of an older version.
func (x *run) suppliedAgain(ctx context.Context, older secret.VersionID) (bool, error) {
	if x.state.try.Reason != events.ReasonSupplied {
		return false, nil
	}
	pending, err := x.pendingValue(ctx)
	if err != nil {
		return false, err
	}
	_, v, err := x.store.Get(ctx, x.state.spec.StorePath(), store.Selector{Version: older})
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNoValue) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return x.saw(v).Equal(pending), nil
}
