package rotation

import (
	"context"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// pauseRecheck is how soon a due rotation of a paused secret is looked at again.
const pauseRecheck = 5 * time.Minute

// frozen returns when the freeze ends that a scheduled rotation has to wait for, given
// what the store shows, and the zero Time for none. One that was asked for does not wait,
// and neither does the first version.
func (s state) frozen(m secret.Metadata, now time.Time) time.Time {
	if s.requested() || s.try.From == "" || s.try.Phase != PhaseWhole {
		return time.Time{}
	}
	at, held := s.spec.Start(m, now)
	if held == nil {
		return time.Time{}
	}
	return at
}

// readPause returns whether a scheduled rotation has to wait until a person lets it go
// on. One that was asked for does not, and neither does the first version.
func (x *run) readPause(ctx context.Context) (bool, error) {
	if x.state.requested() || x.state.try.From == "" || x.state.try.Phase != PhaseWhole {
		return false, nil
	}
	p, err := x.r.cfg.Bus.Pause(ctx, x.state.try.Secret)
	return p.Paused, err
}

// rest keeps the timer of a paused secret, so that its rotation begins soon after the
// pause, or at the end of the freeze.
func (x *run) rest(ctx context.Context) error {
	if x.r.cfg.Timers == nil {
		return nil
	}
	now := time.Now()
	at := now.Add(pauseRecheck)
	if !x.state.thaws.IsZero() {
		at = x.state.thaws
	}
	return x.schedule(ctx, now, at)
}
