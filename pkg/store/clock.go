package store

import (
	"sync"
	"time"
)

// Dated is a [Driver] that knows by how much the clock of its service is ahead of this
// process's, negative if it is behind. It is false as long as the service has not said.
type Dated interface {
	Skew() (ahead time.Duration, known bool)
}

// Clock is the difference between the clock of a service and this process's, as the
// last answer had it. It implements [Dated] for drivers that embed it.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration
	known bool
}

// answersWithin bounds the time of a call whose answer tells the time.
const answersWithin = time.Second

// Note takes the time that the service gave in the answer to a call. A slow answer says
// little, and is left out.
func (c *Clock) Note(service, asked, answered time.Time) {
	took := answered.Sub(asked)
	if service.IsZero() || took > answersWithin {
		return
	}
	c.NoteSkew(service.Sub(asked.Round(0).Add(took / 2)))
}

// NoteSkew takes a difference that was measured elsewhere.
func (c *Clock) NoteSkew(ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead, c.known = ahead, true
}

// Skew implements [Dated].
func (c *Clock) Skew() (ahead time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead, c.known
}
