package health

import (
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
)

// TestUsed: the bound that is nearer counts.
func TestUsed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		h    events.StreamHealth
		want int64
	}{
		"no bound":          {events.StreamHealth{Bytes: 100, Messages: 10, MaxBytes: -1, MaxMessages: -1}, unknown},
		"bytes only":        {events.StreamHealth{Bytes: 90, MaxBytes: 100, Messages: 10, MaxMessages: -1}, 90},
		"messages only":     {events.StreamHealth{Bytes: 90, MaxBytes: -1, Messages: 81, MaxMessages: 100}, 81},
		"both, and bytes":   {events.StreamHealth{Bytes: 90, MaxBytes: 100, Messages: 81, MaxMessages: 100}, 90},
		"both, and records": {events.StreamHealth{Bytes: 10, MaxBytes: 100, Messages: 81, MaxMessages: 100}, 81},
	} {
		if got := used(c.h); got != c.want {
			t.Errorf("%s: %d %%, want %d", name, got, c.want)
		}
	}
}
