package events_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestBurstsAreConsumedWithoutAPause consumes bursts of more events than are
// handled at once, again and again: an iterator that forgets to ask for the rest
// of one goes on when its heartbeat fails, after a minute.
func TestBurstsAreConsumedWithoutAPause(t *testing.T) {
	t.Parallel()
	const bursts, each = 60, 14
	s := eventstest.NewServer(t)
	b := s.NewBus(events.StreamOptions{Memory: true})
	for burst := range bursts {
		for n := range each {
			e := event(events.TypeNearExpiry, secret.VersionID(fmt.Sprintf("v%d-%d", burst, n)))
			if err := b.RotateNow(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		var handled atomic.Int32
		all := make(chan struct{})
		stop := consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer, Concurrency: 4}, func(context.Context, events.Delivery) error {
			if handled.Add(1) == each {
				close(all)
			}
			return nil
		})
		select {
		case <-all:
		case <-time.After(3 * time.Minute):
			t.Fatalf("burst %d: %d of %d events have come", burst, handled.Load(), each)
		}
		waittest.Until(t, "the queue of rotations is empty", func() error { return queueEmpty(t, b) })
		stop()
	}
}
