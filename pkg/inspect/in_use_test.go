package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestSessionsAtTheTargetAreShown: status names the address of a client whose session
// holds a retirement back, until the worker sees none.
func TestSessionsAtTheTargetAreShown(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: time.Hour})
	v, now := s.put("db"), time.Now()
	d := events.Data{
		SecretID: "DB", Store: "main", VersionID: v, PreviousVersionID: "v0", Reason: events.ReasonManual, OccurredAt: now,
		Rollout: &events.Rollout{State: events.RolloutDraining, StartedAt: now.Add(-time.Hour), ConvergedAt: now.Add(-time.Hour), RetireAt: now.Add(-time.Minute)},
	}
	if _, err := s.bus.PublishAfter(t.Context(), rollout.Resume(d).Event("/test", rollout.Facts{}), 0); err != nil {
		t.Fatal(err)
	}
	open := &events.InUse{Total: 1, Sessions: []events.Blocker{{Instance: "192.0.2.7:41234", VersionID: "v0", Reason: events.BlockInUse, Detail: "since 2026-11-30T10:00:00Z"}}}
	for _, sessions := range []*events.InUse{open, nil} {
		d.Retry.Attempt++
		d.Retry.InUse = sessions
		d.Retry.Failure = &events.Failure{Step: "drain", Code: events.CodeBlocked, Message: "still in use"}
		if sessions != nil {
			d.Retry.Failure.Code = events.CodeDrainOverdue
		}
		e := events.Event{ID: "retire", Type: events.TypeRetire, Source: "/test", Time: now, Data: d}
		if _, err := s.bus.Arm(t.Context(), e, now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		one := s.secrets("DB")[0]
		if overdue := sessions != nil; one.NeedsAttention() != overdue || one.DrainOverdue != overdue {
			t.Errorf("with sessions %+v: overdue %t, needs attention %t", sessions.Named(), one.DrainOverdue, one.NeedsAttention())
		}
		if p := one.Problems(); sessions != nil && (len(p) != 1 || !strings.Contains(p[0].Sentence, "does not drain at the target") || !strings.Contains(p[0].Sentence, "192.0.2.7:41234")) {
			t.Errorf("problems %+v", p)
		}
		because := one.SafeToRevoke.Because
		if shown := strings.Contains(because, "a session of 192.0.2.7:41234 at the target (in_use)"); shown != (sessions != nil) || shown && one.SafeToRevoke.Answer != rollout.AnswerNo {
			t.Errorf("with sessions %+v: %s because %s", sessions.Named(), one.SafeToRevoke.Answer, because)
		}
	}
}
