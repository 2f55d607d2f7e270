package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestASuspensionIsShown: until when it lasts, and whose use ended it.
func TestASuspensionIsShown(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: time.Hour, Drain: secret.Drain{Soak: 10 * time.Minute}})
	v, now := s.put("db"), time.Now()
	d := events.Data{
		SecretID: "DB", Store: "main", VersionID: v, PreviousVersionID: "v0", Reason: events.ReasonManual, OccurredAt: now,
		Rollout: &events.Rollout{State: events.RolloutDraining, StartedAt: now.Add(-time.Hour), ConvergedAt: now.Add(-time.Hour), RetireAt: now.Add(-time.Minute)},
	}
	var seq uint64
	for attempt, suspended := range []bool{true, false} {
		var err error
		if seq, err = s.bus.PublishAfter(t.Context(), rollout.Suspended("/test", now.Add(time.Duration(attempt)*time.Second), d, suspended, nil), seq); err != nil {
			t.Fatal(err)
		}
		d.Retry = events.Retry{Attempt: attempt + 1, SuspendedAt: now}
		if !suspended {
			clients := &events.InUse{Total: 1, Sessions: []events.Blocker{{Instance: "192.0.2.7:41234", VersionID: "v0", Reason: events.BlockInUse, Detail: "a login was refused"}}}
			d.Retry = events.Retry{Attempt: attempt + 1, Resumed: &events.Resumed{At: now, Times: 1, Clients: clients}}
		}
		e := events.Event{ID: "retire", Type: events.TypeRetire, Source: "/test", Time: now, Data: d}
		if _, err := s.bus.Arm(t.Context(), e, now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		one := s.secrets("DB")[0]
		if got := one.SuspendedUntil; suspended != got.Equal(now.Add(10*time.Minute)) || suspended == got.IsZero() {
			t.Errorf("suspended %t: it is shown until %s", suspended, got)
		}
		if text := one.RolloutSentence(now); strings.Contains(text, "is suspended until") != suspended {
			t.Errorf("suspended %t: %s", suspended, text)
		}
		if named := len(one.Blocking) > 0 && one.Blocking[len(one.Blocking)-1].Instance == "192.0.2.7:41234"; named == suspended || !suspended && one.SafeToRevoke.Answer != rollout.AnswerNo {
			t.Errorf("suspended %t: it waits for %+v, safe to revoke: %s", suspended, one.Blocking, one.SafeToRevoke.Answer)
		}
		p := one.Problems()
		if named := len(p) == 1 && strings.Contains(p[0].Sentence, "used while it was suspended") && strings.Contains(p[0].Sentence, "192.0.2.7:41234"); named == suspended || one.NeedsAttention() == suspended {
			t.Errorf("suspended %t: needs attention %t, problems %+v", suspended, one.NeedsAttention(), p)
		}
	}
}
