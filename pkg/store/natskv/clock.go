package natskv

import (
	"context"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/store"
)

// clockFor is how long the time of the server is carried on by this process's
// monotonic clock before it is asked for again.
const clockFor = time.Minute

// clock is the time of the server as it was asked for last.
type clock struct {
	store.Clock
	mu     sync.Mutex
	server time.Time
	asked  time.Time // by this process's clock
}

// carried returns the time of the server, or false if it has to be asked for: it was
// not for long, the machine slept, or its clock was set.
func (c *clock) carried() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	since := now.Sub(c.asked)
	wall := now.Round(0).Sub(c.asked.Round(0))
	if c.server.IsZero() || since > clockFor || (wall-since).Abs() > time.Second {
		return time.Time{}, false
	}
	return c.server.Add(since), true
}

// Skew implements [store.Dated], once something was written.
func (d *Driver) Skew() (ahead time.Duration, known bool) { return d.clock.Skew() }

// now returns the time by the clock of the server that leads the bucket: that of this
// process may be wrong, and versions are dated for every process.
func (d *Driver) now(ctx context.Context) (time.Time, error) {
	if t, ok := d.clock.carried(); ok {
		return t, nil
	}
	begin := time.Now()
	info, err := d.stream.Info(ctx)
	if err != nil {
		return time.Time{}, classify(err)
	}
	if info.TimeStamp.IsZero() { // of a server before 2.10
		return time.Now().UTC(), nil
	}
	d.clock.Note(info.TimeStamp, begin, time.Now())
	d.clock.mu.Lock()
	defer d.clock.mu.Unlock()
	d.clock.server, d.clock.asked = info.TimeStamp.UTC(), begin
	return d.clock.server, nil
}
