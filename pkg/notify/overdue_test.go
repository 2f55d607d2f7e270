//go:build !race

package notify

import (
	"context"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAnOverdueRetirementKeepsItsTries: a worker waits until the target has seen no session
// for longer than the notifier waits before it orders the retirement again.
func TestAnOverdueRetirementKeepsItsTries(t *testing.T) {
	const window, pause = 40 * time.Minute, time.Minute
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Grace: window})
		s.runs("api", "1", "v2", id)
		worker := s.connect()
		s.work(func(d events.Delivery) {
			e := d.Event
			e.Time = time.Now()
			if e.Data.Retry.QuietSince.IsZero() {
				e.Data.Retry.QuietSince = e.Time
			}
			if e.Time.Sub(e.Data.Retry.QuietSince) >= window {
				s.retire(d)
				return
			}
			e.Data.Retry.Attempt++
			e.ID = string(secret.NewToken(id, "v2", "retry", e.Data.Retry.Attempt))
			if _, err := worker.Arm(context.WithoutCancel(t.Context()), e, e.Time.Add(pause)); err != nil {
				t.Error(err)
			}
		})
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		live(2*window + 5*time.Minute)
		s.becomes(id, "v2", rolling, converged, draining, retired)
		p.stop()
	})
}
