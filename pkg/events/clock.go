package events

import (
	"context"
	"time"
)

// Now returns the time of the server that stores the records of the fleet: when it
// stored a barrier that was published after the call. It is the clock of every decision
// on a fleet, and behind the server's by the time of the answer at most.
func (b *Bus) Now(ctx context.Context) (time.Time, error) {
	s, err := b.usesBehindBarrier(ctx)
	if err != nil {
		return time.Time{}, wrap("read the clock of the server", err)
	}
	return s.at, nil
}
