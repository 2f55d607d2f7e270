package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// The steps of a rotation that the store has somebody else run.
const (
	// StepTrigger has the store begin, unless a rotation runs already.
	StepTrigger Step = "trigger"
	// StepFollow reads again and says how far the rotation is: it has ended once
	// another version is current, and the steps after a promotion follow.
	StepFollow Step = "follow"
)

// How a rotation stands that the store has somebody else run.
var (
	// ErrRunning means that it has not ended yet.
	ErrRunning = errors.New("the rotation that the store runs has not ended yet")
	// ErrStuck means that it has not ended for too long. Whoever runs it may
	// still end it, which is announced then; rotating by hand triggers it again.
	ErrStuck = errors.New("the rotation that the store runs does not end; mend its function, then rotate by hand")
)

// DefaultExternalDeadline is [Config.ExternalDeadline] unless a configuration says
// otherwise. AWS repeats the steps of a rotation that fails for a while.
const DefaultExternalDeadline = time.Hour

// followEvery is how soon a rotation that somebody else runs is looked at again.
const followEvery = 10 * time.Second

// managed reports whether the store has somebody else run the rotation. Whoever
// asks for a part is that somebody.
func (s State) managed() bool {
	return s.Spec.Strategy == secret.StrategyExternal && s.Part == PartWhole
}

// running reports whether the store shows a rotation that has not ended: this
// one, or one that somebody else began.
func (s State) running() bool {
	_, ok := s.Meta.At(secret.StagePending)
	return ok
}

// asked reports whether a person asked for the rotation and nobody has acted on
// it yet.
func (s State) asked() bool {
	return s.Cause.Attempt == 0 && (s.Cause.Reason == events.ReasonManual || s.Cause.Reason == events.ReasonEmergency)
}

// trigger lets the store begin. The token is derived from the cause, so that a
// worker that takes over after a crash asks for the same rotation. A person who
// asks has one that is stuck tried again.
func (x *Run) trigger(ctx context.Context) error {
	if !x.state.running() || x.state.asked() {
		err := x.store.Trigger(ctx, x.state.Spec.StorePath(), x.state.Token())
		if err != nil && !errors.Is(err, store.ErrPending) {
			return err
		}
	}
	x.state = x.state.Did(StepTrigger)
	return nil
}

// follow reads again. With another current version the rotation has ended,
// whoever ran it; without a pending one it was given up, and after some of those
// the next token is tried, as with a value that a target refuses.
func (x *Run) follow(ctx context.Context) error {
	if err := x.read(ctx); err != nil {
		return err
	}
	s := x.state
	if s.Meta.Current().ID != s.Cause.VersionID {
		return nil
	}
	p, ok := s.Meta.At(secret.StagePending)
	switch {
	case !ok:
		return fmt.Errorf("%w: the store gave the rotation up", ErrRejected)
	case x.late(p, time.Now()):
		return fmt.Errorf("%w: version %s is pending", ErrStuck, p.ID)
	default:
		return events.RetryAfter(ErrRunning, followEvery)
	}
}

// late reports whether the rotation has had its time, counted from its pending
// version or, if that is later, from the cause: an old rotation that is triggered
// again begins anew.
func (x *Run) late(p secret.Version, now time.Time) bool {
	begin := x.state.Cause.OccurredAt
	if p.CreatedAt.After(begin) {
		begin = p.CreatedAt
	}
	return x.r.ExternalDeadline > 0 && !begin.IsZero() && now.Sub(begin) >= x.r.ExternalDeadline
}
