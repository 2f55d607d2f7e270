package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// errTooSoon is the error of a scheduled rotation that comes too soon after the last.
var errTooSoon = errors.New("the last rotation is less than a tenth of the lifetime ago: the clock of the store or of this worker is wrong, or the refresh margin is not shorter than the lifetime")

// tooSoon returns how long a scheduled rotation has to wait. Both ends of the time
// since the last rotation are by the clock of the log: those of the worker and of the
// store may be wrong. A rotation that has begun goes on. Where the announcement of the
// last one was lost, it is not known when that was.
func (s state) tooSoon() time.Duration {
	life := s.spec.Lifetime(s.meta)
	if cur := s.meta.Current(); !s.spec.NotAfter(s.meta, cur).IsZero() {
		// The store may end it earlier. Less than a second is the difference between
		// the moment of the worker and that of the store.
		if own := s.spec.NotAfter(s.meta, cur).Sub(cur.CreatedAt); life <= 0 || own < life-time.Second {
			life = own
		}
	}
	switch {
	case s.requested(), s.noLog, s.log.Event.Data.Missed, s.try.From == "", s.try.Delivered.IsZero(), s.log.At.IsZero(), life <= 0, s.hasPending():
		return 0
	}
	return max(life/secret.Spacing-s.try.Delivered.Sub(s.log.At), 0)
}

// requested reports whether a person or the store asked for the rotation.
func (s state) requested() bool { return s.try.Reason.Asked() }

// postpone puts the rotation off.
func (x *run) postpone(context.Context) error {
	wait := x.state.tooSoon()
	return events.RetryAfter(fmt.Errorf("%w; it is tried again in %s", errTooSoon, wait.Round(time.Second)), wait)
}
