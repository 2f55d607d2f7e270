//go:build !race

package notify

import (
	"context"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAWorkerIsOrderedToResume: a worker has suspended the version before and was lost
// with its next try, and then an instance needs that version.
func TestAWorkerIsOrderedToResume(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Grace: time.Minute})
		s.runs("api", "1", "v2", id)
		worker, suspended, resumed := s.connect(), make(chan struct{}), make(chan events.RolloutState, 10)
		say := func(is bool) events.RolloutState {
			last, err := worker.Last(context.WithoutCancel(t.Context()), events.TypeRollout, id)
			if err != nil {
				t.Error(err)
				return ""
			}
			d := last.Event.Data
			if !is && (!d.Rollout.Suspended || d.Rollout.State == draining) {
				return ""
			}
			if _, err := worker.PublishAfter(context.WithoutCancel(t.Context()), rollout.Suspended("/test/worker", time.Now(), d, is, nil), last.Seq); err != nil {
				t.Error(err)
			}
			return d.Rollout.State
		}
		orders := 0
		s.work(func(events.Delivery) {
			if orders++; orders == 1 {
				say(true)
				close(suspended)
			} else if state := say(false); state != "" {
				resumed <- state
			}
		})
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		<-suspended
		live(10 * time.Second) // the order that follows the suspension is lost
		s.runs("api", "2", "v1", id)
		select {
		case state := <-resumed:
			if state != rolling {
				t.Errorf("it is resumed while %s", state)
			}
		case <-time.After(10 * time.Minute):
			t.Errorf("no worker was ordered to resume: %v", s.states(id, "v2"))
		}
		p.stop()
	})
}
