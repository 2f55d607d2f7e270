package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAPausedSecretSaysWho: and the timer that its worker set is left alone.
func TestAPausedSecretSaysWho(t *testing.T) {
	t.Parallel()
	now := time.Now()
	spec := secret.Spec{ID: "ID", Store: "mem", TTL: time.Hour}
	f := scheduler.Facts{Known: true, Pause: events.Pause{SecretID: "ID", Paused: true, By: "/cli/alice", Reason: "freeze", At: now}}
	f.Meta.Versions = []secret.Version{{ID: "v1", Stage: secret.StageCurrent, CreatedAt: now.Add(-2 * time.Hour)}}
	f.Timer = events.Timer{Seq: 1, At: now.Add(time.Minute)}
	d := scheduler.Evaluate(now, spec, f)
	if d.Reason != scheduler.ReasonPaused || d.Arm || d.Disarm || !strings.Contains(d.Message, "by /cli/alice: freeze") {
		t.Errorf("got %+v", d)
	}
	f.Timer = events.Timer{}
	if d = scheduler.Evaluate(now, spec, f); !d.Arm {
		t.Errorf("without a timer: %+v", d)
	}
	f.Pause.Paused = false
	if d = scheduler.Evaluate(now, spec, f); d.Reason == scheduler.ReasonPaused {
		t.Errorf("after the pause: %+v", d)
	}
}
