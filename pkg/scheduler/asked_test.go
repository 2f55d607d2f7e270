package scheduler_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
)

// TestASweepThatIsAskedForMovesATimer that another program has moved, though the secret
// has not changed since the sweep before.
func TestASweepThatIsAskedForMovesATimer(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	v := x.write()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { _ = x.s.Run(ctx) }) // it ends with ctx
	var right events.Timer
	waittest.Until(t, "the timer is set", func() (err error) {
		if right, err = x.bus.Timer(t.Context(), events.TypeNearExpiry, id); err == nil && right.Seq == 0 {
			err = fmt.Errorf("timer %+v", right)
		}
		return err
	})
	waittest.Until(t, "the first sweep has ended", func() error {
		if _, known, err := x.bus.LastSweep(t.Context()); err != nil || !known {
			return fmt.Errorf("known %t, %w", known, err)
		}
		return nil
	})
	moved := right.Event
	moved.Data.VersionID = v
	if _, err := x.bus.Arm(t.Context(), moved, right.At.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := x.bus.SweepNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the timer is moved back", func() error {
		now, err := x.bus.Timer(t.Context(), events.TypeNearExpiry, id)
		if err == nil && !now.At.Equal(right.At) {
			err = fmt.Errorf("the timer fires at %s, want %s", now.At, right.At)
		}
		return err
	})
}
