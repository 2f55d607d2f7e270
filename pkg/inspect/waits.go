package inspect

import (
	"fmt"

	"github.com/tradepulse/rotator/pkg/events"
)

// blocked has the words for each reason of which the name alone says too little.
var blocked = map[events.BlockReason]string{
	events.BlockOldVersion:    "it runs another version",
	events.BlockFailed:        "it could not apply the version",
	events.BlockNotUnderstood: "its report is not understood",
	events.BlockNoInstance:    "no instance is running",
	events.BlockSilent:        "it has not renewed its presence and may run another version",
	events.BlockAccepts:       "it still accepts another version",
	events.BlockUnlisted:      "it is not listed under services and uses another version",
}

// Waits says what a rollout waits for: the instance or service, why, and the code.
func Waits(b events.Blocker) string {
	words, ok := blocked[b.Reason]
	if !ok || b.Service == "" {
		return b.String()
	}
	return fmt.Sprintf("%s: %s (%s)", instance(b), why(b, words), b.Reason)
}

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

// instance names what b is about.
func instance(b events.Blocker) string {
	if b.Instance == "" {
		return b.Service
	}
	return b.Service + "/" + b.Instance
}
