package scheduler_test

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestEvaluate(t *testing.T) {
	t.Parallel()
	t0 := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) // a Monday
	night, err := secret.ParseWindow("0 2 * * *", "UTC", 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	sunday, err := secret.ParseWindow("0 2 * * 0", "UTC", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	spec := secret.Spec{ID: "ID", Store: "main", TTL: 24 * time.Hour, RefreshMargin: time.Hour, MaxJitter: -1}
	with := func(change func(*secret.Spec)) secret.Spec {
		s := spec
		change(&s)
		return s
	}
	have := func(age time.Duration) scheduler.Facts {
		v := secret.Version{ID: "v1", Stage: secret.StageCurrent, CreatedAt: t0.Add(-age)}
		return scheduler.Facts{Known: true, Meta: secret.Metadata{Versions: []secret.Version{v}}}
	}
	retrying := have(24 * time.Hour)
	retrying.Timer = events.Timer{Seq: 1, At: t0.Add(time.Minute), Event: events.Event{Data: events.Data{VersionID: "v1", Retry: events.Retry{Attempt: 2, Failure: &events.Failure{Code: events.CodeRejected, Message: "no"}}}}}
	asked := have(time.Hour)
	asked.Timer = events.Timer{Seq: 1, At: t0.Add(time.Minute), Event: events.Event{Data: events.Data{VersionID: "v1", Reason: events.ReasonEmergency, Retry: events.Retry{Failure: &events.Failure{Code: events.CodeRejected, Message: "no"}}}}}
	quarantined := have(24 * time.Hour)
	quarantined.Failed = events.Data{VersionID: "v1", Retry: events.Retry{Failure: &events.Failure{Code: events.CodeQuarantined, Message: "mend it"}}}
	stuck := have(24 * time.Hour)
	stuck.Failed = events.Data{VersionID: "v1", Retry: events.Retry{Failure: &events.Failure{Code: events.CodeStuck, Message: "mend the function"}}}
	begun := have(time.Hour)
	begun.Meta.Versions = append(begun.Meta.Versions, secret.Version{ID: "v2", Stage: secret.StagePending})
	stuck.Meta.Versions = begun.Meta.Versions
	external := with(func(s *secret.Spec) { s.Strategy = secret.StrategyExternal })
	for name, c := range map[string]struct {
		spec  secret.Spec
		facts scheduler.Facts
		want  scheduler.Reason
		in    time.Duration // until At, where something is armed
		arm   bool
	}{
		"a young version is scheduled":     {spec, have(time.Hour), scheduler.ReasonScheduled, 22 * time.Hour, true},
		"one in its margin is near expiry": {spec, have(23*time.Hour + time.Minute), scheduler.ReasonNearExpiry, -time.Minute, true},
		"one past its end is expired":      {spec, have(25 * time.Hour), scheduler.ReasonExpired, -2 * time.Hour, true},
		"a due one waits for its window": {with(func(s *secret.Spec) {
			s.Windows, s.TTL, s.RefreshMargin = []secret.Window{night}, 48*time.Hour, 20*time.Hour
		}), have(29 * time.Hour), scheduler.ReasonWaitingForWindow, 14 * time.Hour, true},
		"no window in its life is said":               {with(func(s *secret.Spec) { s.Windows = []secret.Window{sunday} }), have(time.Hour), scheduler.ReasonNoWindow, 22 * time.Hour, true},
		"a failed one waits for its next try":         {spec, retrying, scheduler.ReasonRetrying, 0, false},
		"one that was asked for is left alone":        {spec, asked, scheduler.ReasonRetrying, 0, false},
		"also where rotation by schedule is off":      {with(func(s *secret.Spec) { s.Disabled = true }), asked, scheduler.ReasonRetrying, 0, false},
		"and where there is no lifetime":              {with(func(s *secret.Spec) { s.TTL = 0 }), asked, scheduler.ReasonRetrying, 0, false},
		"a quarantined one waits for a person":        {spec, quarantined, scheduler.ReasonQuarantined, 0, false},
		"one that its store rotates is followed":      {external, begun, scheduler.ReasonRunning, 0, true},
		"a pending version of ours is no such":        {spec, begun, scheduler.ReasonScheduled, 22 * time.Hour, true},
		"one that its store does not end rotating":    {external, stuck, scheduler.ReasonQuarantined, 0, false},
		"a missing one is made where that is allowed": {with(func(s *secret.Spec) { s.Create = true }), scheduler.Facts{}, scheduler.ReasonMissing, 0, true},
		"a deleted secret is left alone":              {with(func(s *secret.Spec) { s.Create = true }), scheduler.Facts{Deleted: "it is scheduled for deletion"}, scheduler.ReasonDeleted, 0, false},
		"a deleted version is left alone":             {with(func(s *secret.Spec) { s.Create = true }), scheduler.Facts{Known: true, Meta: secret.Metadata{Deleted: "version 1 was deleted"}}, scheduler.ReasonDeleted, 0, false},
		"a missing one is said where it is not":       {spec, scheduler.Facts{}, scheduler.ReasonNotFound, 0, false},
		"one without a lifetime rotates by hand":      {with(func(s *secret.Spec) { s.TTL = 0 }), have(time.Hour), scheduler.ReasonNoLifetime, 0, false},
		"a disabled one rotates by hand":              {with(func(s *secret.Spec) { s.Disabled = true }), have(25 * time.Hour), scheduler.ReasonDisabled, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := scheduler.Evaluate(t0, c.spec, c.facts)
			if d.Reason != c.want || d.Arm != c.arm || d.Message == "" {
				t.Errorf("%s, arm %t, %q; want %s, arm %t", d.Reason, d.Arm, d.Message, c.want, c.arm)
			}
			if c.arm && !d.At.Equal(t0.Add(c.in)) {
				t.Errorf("at %s, want %s", d.At, t0.Add(c.in))
			}
			if failed := c.want == scheduler.ReasonRetrying || c.want == scheduler.ReasonQuarantined; (d.Failure != nil) != failed {
				t.Errorf("failure %+v, want one: %t", d.Failure, failed)
			}
		})
	}
}
