package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestACallThatWasNotMadeIsNoAttempt: an open circuit refuses calls without making
// them. They do not lengthen the pause, however many there are.
func TestACallThatWasNotMadeIsNoAttempt(t *testing.T) {
	t.Parallel()
	x := newRig(t, func(c *rotation.Config) { c.RetryBase, c.RetryCap = time.Minute, time.Hour })
	open := fmt.Errorf("%w: %w", store.ErrUnavailable, store.ErrCircuitOpen)
	d := events.Delivery{Event: events.Event{Type: events.TypeNearExpiry, Time: time.Now(), Data: events.Data{SecretID: "ID", VersionID: x.v1, Reason: events.ReasonNearExpiry}}}
	ids := map[string]bool{}
	for _, c := range []struct {
		cause   error
		attempt int
		most    time.Duration
	}{{store.ErrUnavailable, 1, time.Minute}, {open, 1, store.DefaultOpenFor}, {open, 1, store.DefaultOpenFor}, {store.ErrUnavailable, 2, 2 * time.Minute}} {
		if err := x.r.Retry(t.Context(), d, c.cause); err != nil {
			t.Fatal(err)
		}
		timer, err := x.bus.Timer(t.Context(), events.TypeNearExpiry, "ID")
		if err != nil || timer.Event.Data.Attempt != c.attempt || timer.At.Sub(timer.Event.Time) > c.most {
			t.Errorf("after %v: attempt %d in %s, err %v; want attempt %d within %s", c.cause, timer.Event.Data.Attempt, timer.At.Sub(timer.Event.Time), err, c.attempt, c.most)
		}
		if ids[timer.Event.ID] {
			t.Errorf("after %v: the id is that of an earlier try", c.cause)
		}
		ids[timer.Event.ID] = true
		d.Event = timer.Event
	}
}
