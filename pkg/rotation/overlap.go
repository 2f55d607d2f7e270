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
	older, err := x.unretired(ctx)
	if err != nil || older == "" || x.state.try.Reason == events.ReasonEmergency || x.state.try.Priority == events.PriorityEmergency {
		return err
	}
	if same, err := x.suppliedAgain(ctx, older); err != nil || same {
		return err
	}
	return events.RetryAfter(fmt.Errorf("%w: version %s is not retired, and the target has room for two credentials", errBlocked, older), retireRetry)
}

// unretired returns the version before the current one, "" if it is retired.
func (x *run) unretired(ctx context.Context) (secret.VersionID, error) {
	if v, ok := x.state.meta.At(secret.StagePrevious); ok {
		return v.ID, nil
	}
	// A retirement takes the stage away before it proves, revokes and retires.
	last, err := x.r.cfg.Bus.Last(ctx, events.TypeRollout, x.state.try.Secret)
	switch {
	case errors.Is(err, ErrNoLog), errors.Is(err, events.ErrUntrusted):
		return "", nil
	case err != nil:
		return "", err
	}
	d := last.Event.Data
	if d.Rollout == nil || d.Rollout.State != events.RolloutDraining || d.VersionID != x.state.try.From {
		return "", nil
	}
	return d.PreviousVersionID, nil
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
	if err != nil {
		return false, err
	}
	return x.saw(v).Equal(pending), nil
}
