package notify

import (
	"context"

	"github.com/tradepulse/rotator/pkg/events"
)

// watchConfirmed follows what is confirmed of consumers until ctx ends. Until a record
// arrives its consumer counts as unconfirmed, which only delays.
func (t *tracker) watchConfirmed(ctx context.Context) error {
	return t.bus.WatchConfirmed(ctx, func(c events.Confirmed) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		of := t.confirmed[c.SecretID]
		if of == nil {
			of = map[string]events.Confirmed{}
			t.confirmed[c.SecretID] = of
		}
		of[c.Consumer] = c
		t.touched(c.SecretID)
		return nil
	})
}
