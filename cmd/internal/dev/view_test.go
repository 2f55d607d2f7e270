package dev

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
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

// TestBeforeTheFirstReload: nothing was measured yet, which is not zero.
func TestBeforeTheFirstReload(t *testing.T) {
	t.Parallel()
	b := newBoard([]secret.ID{adminID}, nil)
	b.logged(events.Rotated(workerSource, time.Now(), events.Data{SecretID: adminID, VersionID: "1a2b3c4d5e"}))
	if got := b.summary().String(); got != "1 first version, 0 rotations, 0 converged, 0 retired, 0 failed\nreload –" {
		t.Errorf("%q", got)
	}
	if j, err := json.Marshal(b.summary()); err != nil || !strings.Contains(string(j), `"rotations":1,"first_versions":1`) || !strings.Contains(string(j), `{"p50":null,"p99":null}`) {
		t.Errorf("%s, %v", j, err)
	}
}

// TestALowTerminal has the head and the last events, whatever is between them.
func TestALowTerminal(t *testing.T) {
	t.Parallel()
	b := newBoard([]secret.ID{adminID, auditID}, nil)
	for _, who := range []string{"demo-1", "demo-2", "demo-3"} {
		b.used(events.Use{Running: events.Running{SecretID: adminID, VersionID: "1a2b3c4d5e"}, Service: "admin-api", Instance: who})
	}
	b.say("rollout.retired", adminID, "the last line")
	rows := strings.Split(b.render(time.Now(), 40, 12), "\n")
	if len(rows) > 12 || !strings.Contains(rows[0], "rotator dev") || !strings.Contains(strings.Join(rows, "\n"), "the last line") {
		t.Errorf("%d lines:\n%s", len(rows), strings.Join(rows, "\n"))
	}
	if got := b.last(1); !strings.Contains(got, "the last line") || strings.Contains(got, "uses") {
		t.Errorf("afterwards %q", got)
	}
}

// TestThePreviousVersionIsNamedWithItsState: the current one is never called retired.
func TestThePreviousVersionIsNamedWithItsState(t *testing.T) {
	t.Parallel()
	for state, want := range map[events.RolloutState]string{
		events.RolloutConverged: "on every instance  previous 0f31c2aa kept",
		events.RolloutDraining:  "on every instance  previous 0f31c2aa draining",
		events.RolloutRetired:   "on every instance  previous 0f31c2aa retired",
		events.RolloutRolling:   "rolling",
	} {
		if got := (&row{previous: "0f31c2aa", rollout: state}).progress(); got != want {
			t.Errorf("%s: %q", state, got)
		}
	}
}
