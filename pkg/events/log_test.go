package events_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAWatchOfTheLogSaysWhenItIsRead: once, after everything that was there at the
// start and before what came later, also when nothing was there.
func TestAWatchOfTheLogSaysWhenItIsRead(t *testing.T) {
	t.Parallel()
	for _, stored := range []int{0, 1, 300} {
		t.Run(fmt.Sprint(stored), func(t *testing.T) {
			t.Parallel()
			b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
			publish := func(id secret.ID) {
				t.Helper()
				e := event(events.TypeRotated, "v1")
				e.ID, e.Data.SecretID = "event-"+string(id), id
				if err := b.Publish(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			for i := range stored {
				publish(secret.ID(fmt.Sprint("before/", i)))
			}
			seen, synced := make(chan secret.ID, 512), make(chan int, 2)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- b.WatchLog(ctx, []events.Type{events.TypeRotated}, func(_ context.Context, a events.Announcement) error {
					seen <- a.Event.Data.SecretID
					return nil
				}, func() { synced <- len(seen) })
			}()
			if n := <-synced; n != stored {
				t.Errorf("synced after %d events, want %d", n, stored)
			}
			publish("after")
			for id := range seen {
				if id == "after" {
					break
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if len(synced) > 0 {
				t.Error("synced twice")
			}
		})
	}
}
