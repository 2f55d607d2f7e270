package health

import (
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// worst returns the skew that differs most from zero.
func worst(streams []events.StreamHealth) (skew time.Duration, known bool) {
	for _, h := range streams {
		if h.Known && (!known || h.Skew.Abs() > skew.Abs()) {
			skew, known = h.Skew, true
		}
	}
	return skew, known
}
