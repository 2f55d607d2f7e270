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
		worker, resumed := s.connect(), make(chan events.RolloutState, 10)
		say := func(suspended bool) events.RolloutState {
			last, err := worker.Last(context.WithoutCancel(t.Context()), events.TypeRollout, id)
			if err != nil {
				t.Error(err)
				return ""
			}
			d := last.Event.Data
			if !suspended && !d.Rollout.Suspended {
				return ""
			}
			if _, err := worker.PublishAfter(context.WithoutCancel(t.Context()), rollout.Suspended("/test/worker", time.Now(), d, suspended, nil), last.Seq); err != nil {
				t.Error(err)
			}
			return d.Rollout.State
		}
		orders := 0
		s.work(func(events.Delivery) {
			if orders++; orders == 1 {
				say(true)
				s.runs("api", "2", "v1", id)
			} else if state := say(false); state != "" && state != draining {
				resumed <- state
			}
		})
		p := s.start().ready()
		s.announce(id, "v2", "v1")
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
