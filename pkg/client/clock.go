package client

import (
	"time"

	"github.com/tradepulse/rotator/pkg/client/internal/fence"
)

// readClock reads both clocks of the machine. A fence is checked against such a
// reading at each use: no timer ends it, because a timer stops with the machine.
func readClock() fence.Clock { return fence.Clock{Boot: sinceBoot(), Wall: time.Now().Round(0)} }

// before returns the reading of d earlier.
func before(c fence.Clock, d time.Duration) fence.Clock {
	return fence.Clock{Boot: c.Boot - d, Wall: c.Wall.Add(-d)}
}

// madeAt returns the reading at which a version was made, and zero if that lies ahead: the
// clock of this machine is then behind that of the store, and says nothing of the age.
func madeAt(created time.Time) fence.Clock {
	now := readClock()
	age := now.Wall.Sub(created)
	if age < 0 {
		return fence.Clock{}
	}
	return before(now, age)
}
