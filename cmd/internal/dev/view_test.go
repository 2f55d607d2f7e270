package dev

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// TestLinesFit: whatever a line says, it fits 80 columns and its verb is whole.
func TestLinesFit(t *testing.T) {
	t.Parallel()
	text := "1a2b3c4d runs on every instance (3); 5e6f7a8b drains in 1.5s " + strings.Repeat("and more ", 30)
	for _, kind := range []string{"secret.rotated", "secret.rotation_failed", "rollout.stalled", "secret.near_expiry", "you.froze"} {
		l := line{at: time.Now(), kind: kind, id: adminID, text: text}
		rows := l.wrapped(lineWidth)
		if !strings.Contains(rows[0], "  "+l.verb()+" ") {
			t.Errorf("the verb of %s is cut: %s", kind, rows[0])
		}
		for _, row := range rows {
			if len([]rune(row)) > lineWidth {
				t.Errorf("%d columns: %s", len([]rune(row)), row)
			}
		}
		if got := strings.Fields(strings.Join(rows, " ")); len(got) < len(strings.Fields(text)) {
			t.Errorf("words are lost: %q", rows)
		}
	}
}

// TestViewFits: the whole view of a terminal of 80 columns does, instances included.
func TestViewFits(t *testing.T) {
	t.Parallel()
	b := newBoard(nil, nil)
	b.secrets[adminID] = &row{id: adminID, version: "1a2b3c4d5e", instances: map[string]events.Use{"admin-api/demo-1": {}}}
	b.say("rollout.converged", adminID, "%s", strings.Repeat("many words ", 20))
	for row := range strings.SplitSeq(b.render(time.Now(), 80, 24), "\n") {
		if len([]rune(row)) > 80 {
			t.Errorf("%d columns: %s", len([]rune(row)), row)
		}
	}
}
