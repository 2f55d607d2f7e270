package inspect_test

import (
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
)

// TestAStalledRolloutNeedsAttention, so that rotator status fails.
func TestAStalledRolloutNeedsAttention(t *testing.T) {
	t.Parallel()
	for _, state := range []events.RolloutState{events.RolloutStalled, events.RolloutRolling, events.RolloutRetired} {
		if got := (inspect.Secret{Rollout: state}).NeedsAttention(); got != (state == events.RolloutStalled) {
			t.Errorf("%s: %t", state, got)
		}
	}
}
