package inspect

import (
	"github.com/tradepulse/rotator/pkg/events"
)

// Why says in words, without a name, why a rollout waits for b.
func Why(b events.Blocker) string {
	words, ok := blocked[b.Reason]
	switch {
	case ok:
		return why(b, words)
	case b.Detail != "":
		return b.Detail
	default:
		return b.String()
	}
}

func why(b events.Blocker, words string) string {
	if b.Reason == events.BlockFailed && b.Detail != "" {
		return words + ": " + b.Detail
	}
	return words
}
