package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// Errors of a rotation that the store runs.
var (
	// errRunning: it has not ended yet.
	errRunning = errors.New("the rotation that the store runs has not ended yet")
	// errStuck: it has passed its deadline. If it ends after that, the new version
	// is announced; rotating by hand triggers it again.
	errStuck = errors.New("the rotation that the store runs does not end; mend its function, then rotate by hand")
)

// DefaultExternalDeadline is [Config.ExternalDeadline] unless a configuration
// says otherwise. AWS repeats the steps of a rotation that fails for a while.
const DefaultExternalDeadline = time.Hour

// followEvery is how soon a rotation that the store runs is read again.
const followEvery = 10 * time.Second

// external reports whether the store runs the rotation. A run that is limited to
// a phase belongs to the function that the store calls, so it does the work
// itself.
func (s state) external() bool {
	return s.spec.Strategy == secret.StrategyExternal && s.try.Phase == PhaseWhole
}

// asked reports whether an operator asked for the rotation and this is the first
// try.
func (s state) asked() bool {
	return s.try.Retry.Attempt == 0 && (s.try.Reason == events.ReasonManual || s.try.Reason == events.ReasonEmergency)
}

// trigger starts the rotation in the store, unless one runs. An operator who asks
// has a stuck one triggered again. The token is derived from the request, so a
// worker that takes over after a crash starts the same rotation.
func (x *run) trigger(ctx context.Context) error {
	if _, running := x.state.meta.At(secret.StagePending); running && !x.state.asked() {
		return nil
	}
	err := x.store.Trigger(ctx, x.state.spec.StorePath(), x.state.token())
	if errors.Is(err, store.ErrPending) {
		return nil
	}
	return err
}

// follow reads again. If another version is current, the rotation has ended,
// whichever process ran it, and the new plan finishes it. If no version is
// pending, the store has given the rotation up. That counts as a refusal, so
// after some of them the next token is tried.
func (x *run) follow(ctx context.Context) error {
	if err := x.read(ctx); err != nil {
		return err
	}
	s := x.state
	if s.meta.Current().ID != s.try.From {
		return nil
	}
	p, ok := s.meta.At(secret.StagePending)
	switch {
	case !ok:
		return fmt.Errorf("%w: the store gave the rotation up", target.ErrRejected)
	case x.overdue(p, time.Now()):
		return fmt.Errorf("%w: version %s is pending", errStuck, p.ID)
	default:
		return events.RetryAfter(errRunning, followEvery)
	}
}

// overdue reports whether the rotation has passed its deadline. It counts from
// the pending version or from the request, whichever is later: an old rotation
// that is triggered again has its full time.
func (x *run) overdue(p secret.Version, now time.Time) bool {
	begin := x.state.try.At
	if p.CreatedAt.After(begin) {
		begin = p.CreatedAt
	}
	return x.r.cfg.ExternalDeadline > 0 && !begin.IsZero() && now.Sub(begin) >= x.r.cfg.ExternalDeadline
}
