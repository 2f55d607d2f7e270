//go:build !race

package notify

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// mortal is a Bus of a notifier that dies whenever it is about to purge.
type mortal struct {
	Bus

	alive *atomic.Bool
}

func (m mortal) Forget(ctx context.Context, service, instance, incarnation string, ids []secret.ID, upTo uint64) error {
	if !m.alive.Load() {
		return errors.New("killed")
	}
	return m.Bus.Forget(ctx, service, instance, incarnation, ids, upTo)
}

// TestAnInstanceIsRecordedAsEndedBeforeItIsPurged, so that a notifier that is killed
// meanwhile leaves nothing that blocks, and another one finishes it.
func TestAnInstanceIsRecordedAsEndedBeforeItIsPurged(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Fence: time.Minute})
		s.use("api", "1", "v1", func(u *events.Use) { u.PastFence, u.Fence = events.PastFenceRefuse, 60 }, id)
		var alive atomic.Bool
		s.join("api", "1", lease)
		s.start(wrap(func(b Bus) Bus { return mortal{b, &alive} })).ready()
		users := func() []events.User {
			t.Helper()
			f, err := s.bus.Fleet(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return f.Users
		}
		live(30 * time.Minute)
		if got := users(); len(got) != 1 || !got[0].Ended() {
			t.Fatalf("before the purge is on record %+v", got)
		}
		alive.Store(true)
		live(30 * time.Minute)
		if got := users(); len(got) != 0 {
			t.Errorf("after the purge is on record %+v", got)
		}
	})
}
