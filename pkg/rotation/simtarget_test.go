package rotation

import (
	"context"
	"fmt"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// simTarget refuses values now and then, and verifies only what was applied.
type simTarget struct {
	target.ValueOnly
	w *world
}

func (s simTarget) Propose(ctx context.Context, c target.Change) (secret.Value, error) {
	return target.ByPolicy(ctx, s.w.rot.cfg.Random, c)
}

func (s simTarget) Apply(context.Context, target.Change) (target.Ref, error) {
	if !s.w.calm && s.w.chance(6) {
		return target.Ref{}, fmt.Errorf("%w by the target", target.ErrRejected)
	}
	return target.Ref{}, s.w.fault("target apply")
}

func (s simTarget) Verify(context.Context, target.Change) error { return s.w.fault("target verify") }

// next returns the name of the step that the run takes next, "" for none.
func (x *run) next() string {
	if len(x.plan.steps) == 0 {
		return ""
	}
	return x.plan.steps[0].name
}
