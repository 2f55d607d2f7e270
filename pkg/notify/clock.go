package notify

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tradepulse/rotator/internal/backoff"
)

// serverClock is the clock of the server that stores the records, as far as this
// process can tell: the latest time that was heard of, and what has passed since. It is
// never ahead of the server, whatever the clock of this host says.
type serverClock struct {
	mu    sync.Mutex
	at    time.Time // of the server, zero before it was heard of
	local time.Time // when that was heard; its monotonic part counts
}

// hear takes a time that the server said not later than now.
func (c *serverClock) hear(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if local := time.Now(); at.After(c.since(local)) {
		c.at, c.local = at, local
	}
}

// now returns the time of the server, or that of this process before the server was
// heard of.
func (c *serverClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return time.Now()
	}
	return c.since(time.Now())
}

func (c *serverClock) since(local time.Time) time.Time {
	if c.at.IsZero() {
		return time.Time{}
	}
	return c.at.Add(local.Sub(c.local))
}

// readClock asks the server for its time until it answers, and returns false when ctx
// ends before.
func (t *tracker) readClock(ctx context.Context) bool {
	for {
		now, err := t.bus.Now(ctx)
		if err == nil {
			t.clock.hear(now)
			return true
		}
		if ctx.Err() == nil {
			t.log.LogAttrs(ctx, slog.LevelWarn, "clock.not_read", slog.String("error", err.Error()))
		}
		if !backoff.Pause(ctx, retryPause) {
			return false
		}
	}
}
