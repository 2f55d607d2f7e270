package inspect

import (
	"fmt"
	"strings"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// maxNamed bounds how many blockers a line names.
const maxNamed = 3

// RolloutLine says in one line where the rollout is that an event describes, since when,
// who it waits for and when the version before dies.
func RolloutLine(d events.Data) string {
	r := d.Rollout
	if r == nil {
		return "its rollout has not begun"
	}
	out := fmt.Sprintf("version %s is %s since %s", shortID(d.VersionID), r.State, stamp(d.OccurredAt))
	ended := r.State == events.RolloutRetired || r.State == events.RolloutSuperseded || r.State == events.RolloutRolledBack
	if len(r.Blocking) > 0 && !ended {
		out += ", waits for " + blockers(r.Blocking, max(r.BlockingTotal, len(r.Blocking)))
	}
	if d.PreviousVersionID == "" {
		return out
	}
	switch {
	case ended && r.State != events.RolloutRetired:
	case ended:
		out += fmt.Sprintf(", version %s is dead", shortID(d.PreviousVersionID))
	case !r.RetireAt.IsZero():
		out += fmt.Sprintf(", version %s dies from %s on", shortID(d.PreviousVersionID), stamp(r.RetireAt))
	default:
		out += fmt.Sprintf(", version %s is kept until it has converged", shortID(d.PreviousVersionID))
	}
	return out
}

// blockers names the first of some blockers.
func blockers(list []events.Blocker, total int) string {
	var out []string
	for _, b := range list[:min(len(list), maxNamed)] {
		out = append(out, Blocked(b))
	}
	if more := total - len(out); more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}

// Because says why versions may be revoked or not: in the words of [Blocked] where users
// are waited for.
func Because(a rollout.SafeToRevoke) string {
	if len(a.Waiting) == 0 || !strings.HasPrefix(a.Because, "it waits for ") {
		return a.Because
	}
	return "it waits for " + blockers(a.Waiting[:1], len(a.Waiting))
}

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

// Blocked says who keeps a rollout waiting and why: in words and as the code for
// machines, with the version that it runs and until when a fence is waited for.
func Blocked(b events.Blocker) string {
	out := blockedInWords(b)
	if !b.Until.IsZero() {
		out += " until " + stamp(b.Until)
	}
	return out
}

func blockedInWords(b events.Blocker) string {
	words, ok := blocked[b.Reason]
	if !ok || b.Service == "" {
		return blockedByName(b)
	}
	switch {
	case b.VersionID == "" && b.Reason == events.BlockOldVersion:
		words = "it has taken no version into use yet"
	case b.VersionID != "":
		words = strings.ReplaceAll(words, "another version", "version "+shortID(b.VersionID))
	}
	if b.Detail != "" {
		words += ": " + b.Detail
	}
	return fmt.Sprintf("%s: %s (%s)", who(b), words, b.Reason)
}

func blockedByName(b events.Blocker) string {
	out := b.String()
	if b.VersionID != "" {
		out += " " + shortID(b.VersionID)
	}
	said := b.Reason == events.BlockUnconfirmed || b.Reason == events.BlockFleet // String has the detail
	if b.Detail != "" && !said {
		out += " (" + b.Detail + ")"
	}
	return out
}

func shortID(v secret.VersionID) string { return string(v[:min(len(v), 8)]) }
