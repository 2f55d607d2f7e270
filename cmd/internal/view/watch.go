package view

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
)

// Watch shows secrets again and again: as a tree that it draws anew on a terminal, and
// elsewhere as lines for what has changed.
type Watch struct {
	w        io.Writer
	terminal bool
	before   map[string]string // :: name → the tree without ages
}

// NewWatch returns a watch that writes to w.
func NewWatch(w io.Writer, terminal bool) *Watch {
	return &Watch{w: w, terminal: terminal, before: map[string]string{}}
}

// redraw moves the cursor of a terminal to its first line and erases what follows.
const redraw = "\x1b[H\x1b[2J"

// Show shows the secrets as they are now.
func (v *Watch) Show(all []inspect.Secret, now time.Time) error {
	var b strings.Builder
	if v.terminal {
		fmt.Fprintf(&b, "%s%s  %s, ctrl-c ends\n\n", redraw, now.Local().Format("15:04:05"), cli.Count(len(all), "secret"))
	}
	for _, s := range all {
		key := s.Store + " " + name(s)
		switch still := tree(s, func(t time.Time) string { return "since " + t.UTC().Format(time.RFC3339) }); {
		case v.terminal:
			b.WriteString(tree(s, func(t time.Time) string { return about(max(0, now.Sub(t))) }))
		case v.before[key] != still:
			v.before[key] = still
			for line := range strings.Lines(still) {
				b.WriteString(now.UTC().Format(time.RFC3339) + "  " + line)
			}
		}
	}
	_, err := io.WriteString(v.w, b.String())
	return err
}

// tree returns a secret with who it waits for below it. when writes the age of a state.
func tree(s inspect.Secret, when func(time.Time) string) string {
	line := fmt.Sprintf("%s  %s", name(s), ShortID(s.VersionID))
	if s.Rollout != "" {
		line += "  " + mark(s.Rollout) + " " + string(s.Rollout)
		if !s.RolloutSince.IsZero() {
			line += " " + when(s.RolloutSince)
		}
		line += fmt.Sprintf("  %d of %d run it", s.Applied, s.Applied+len(s.Blocking))
	}
	if s.Error == "" && s.Reason != "" {
		line += "  " + string(s.Reason)
	}
	var below []string
	if s.Error != "" {
		below = append(below, "error: "+s.Error)
	}
	for _, b := range s.Blocking {
		below = append(below, inspect.Blocked(b))
	}
	switch {
	case s.Rollout == events.RolloutRetired || s.Previous == "":
	case s.RetireAt.IsZero():
		below = append(below, "version "+ShortID(s.Previous)+" is kept until every instance runs the new one")
	default:
		below = append(below, "version "+ShortID(s.Previous)+" dies at "+s.RetireAt.UTC().Format(time.RFC3339))
	}
	var b strings.Builder
	b.WriteString(line + "\n")
	for i, text := range below {
		branch := "├─ "
		if i == len(below)-1 {
			branch = "└─ "
		}
		b.WriteString(branch + text + "\n")
	}
	return b.String()
}

// mark is a symbol for a state, besides its name.
func mark(state events.RolloutState) string {
	switch state {
	case events.RolloutRetired:
		return "✔"
	case events.RolloutConverged, events.RolloutDraining:
		return "◑"
	case events.RolloutStalled, events.RolloutRolledBack:
		return "✖"
	default:
		return "○"
	}
}
