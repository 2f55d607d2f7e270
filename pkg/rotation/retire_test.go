package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// retirement is a rig whose second version is current, and an instance that
// reports it.
type retirement struct {
	*rig
	v2      secret.VersionID
	started time.Time
}

func newRetirement(t *testing.T) retirement {
	t.Helper()
	x := retirement{rig: newRig(t, nil), started: time.Now().Add(-time.Hour)}
	if err := x.rotate(t, x.v1); err != nil {
		t.Fatal(err)
	}
	x.v2 = x.current(t)
	x.report(t, "one", x.v2)
	return x
}

func (x retirement) report(t *testing.T, instance string, v secret.VersionID) {
	t.Helper()
	rep := events.Report{Service: "api", Instance: instance, At: time.Now(), Secrets: []events.Running{{SecretID: "ID", VersionID: v, Status: events.StatusApplied}}}
	if err := x.bus.Report(t.Context(), rep, time.Minute); err != nil {
		t.Fatal(err)
	}
}

// rollout returns the body of an event about the rollout of v2 that started at
// x.started.
func (x retirement) rollout(state events.RolloutState, retireAt time.Time) events.Data {
	return events.Data{
		SecretID: "ID", Store: "mem", VersionID: x.v2, PreviousVersionID: x.v1, Reason: events.ReasonManual, OccurredAt: time.Now(),
		Rollout: &events.Rollout{State: state, StartedAt: x.started, RetireAt: retireAt},
	}
}

// log makes d the last rollout event.
func (x retirement) log(t *testing.T, d events.Data) {
	t.Helper()
	last, err := x.bus.Last(t.Context(), events.TypeRollout, "ID")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.bus.PublishAfter(t.Context(), rollout.Resume(d).Event("/test", rollout.Facts{}), last.Seq); err != nil {
		t.Fatal(err)
	}
}

// blocked fails the test unless the order is to be tried again and v1 is left.
func (x retirement) blocked(t *testing.T, order events.Data) {
	t.Helper()
	err := x.retire(t, order)
	if _, later := events.RetryDelay(err); err == nil || !strings.Contains(err.Error(), "still in use") || !later {
		t.Errorf("retire: %v, want that the version is in use, and a later try", err)
	}
	if _, _, err := x.st.Get(t.Context(), "ID", store.Selector{Version: x.v1}); err != nil {
		t.Errorf("the version before is gone: %v", err)
	}
}

// retires fails the test unless the order retires v1.
func (x retirement) retires(t *testing.T, order events.Data) {
	t.Helper()
	if err := x.retire(t, order); err != nil {
		t.Fatal(err)
	}
	m, err := x.st.Describe(t.Context(), "ID")
	if err != nil {
		t.Fatal(err)
	}
	if old, err := (store.Selector{Version: x.v1}).Find(m); err == nil && old.Stage != secret.StageRetired {
		t.Errorf("the version before is %s", old.Stage)
	}
}

// TestRetireLooksForItself: an order proves nothing. The previous version lives
// until the log says that this very rollout has converged and its grace period
// is over, and until every instance reports the next version.
func TestRetireLooksForItself(t *testing.T) {
	t.Parallel()
	past, future := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		log   func(x retirement) events.Data // the last rollout event, nil for none
		order func(x retirement) events.Data // nil for one of the converged rollout
		other bool                           // an instance reports the version before
		ok    bool
	}{
		"converged, and the time has come": {log: func(x retirement) events.Data { return x.rollout(events.RolloutConverged, past) }, ok: true},
		"retired by an earlier run":        {log: func(x retirement) events.Data { return x.rollout(events.RolloutRetired, past) }, ok: true},
		"converged, and an instance lags":  {log: func(x retirement) events.Data { return x.rollout(events.RolloutConverged, past) }, other: true},
		"converged, within the grace":      {log: func(x retirement) events.Data { return x.rollout(events.RolloutConverged, future) }},
		"converged, without a time":        {log: func(x retirement) events.Data { return x.rollout(events.RolloutConverged, time.Time{}) }},
		"rolling":                          {log: func(x retirement) events.Data { return x.rollout(events.RolloutRolling, time.Time{}) }},
		"rolling, with a time":             {log: func(x retirement) events.Data { return x.rollout(events.RolloutRolling, past) }},
		"stalled":                          {log: func(x retirement) events.Data { return x.rollout(events.RolloutStalled, time.Time{}) }},
		"superseded":                       {log: func(x retirement) events.Data { return x.rollout(events.RolloutSuperseded, past) }},
		"rolled back":                      {log: func(x retirement) events.Data { return x.rollout(events.RolloutRolledBack, past) }},
		"a state of a later program":       {log: func(x retirement) events.Data { return x.rollout("waving", past) }},
		"no log":                           {},
		"the log is about another version": {log: func(x retirement) events.Data {
			d := x.rollout(events.RolloutConverged, past)
			d.VersionID = "v9"
			return d
		}},
		"the version was announced again": {log: func(x retirement) events.Data {
			d := x.rollout(events.RolloutConverged, past)
			d.Rollout.StartedAt = past
			return d
		}},
		"the order says nothing of its own": {
			log: func(x retirement) events.Data { return x.rollout(events.RolloutConverged, past) },
			order: func(x retirement) events.Data {
				d := x.rollout(events.RolloutConverged, past)
				d.Rollout = nil
				return d
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newRetirement(t)
			order := x.rollout(events.RolloutConverged, past)
			if c.order != nil {
				order = c.order(x)
			}
			if c.log != nil {
				x.log(t, c.log(x))
			}
			if c.other {
				x.report(t, "two", x.v1)
			}
			if c.ok {
				x.retires(t, order)
			} else {
				x.blocked(t, order)
			}
		})
	}
}

// TestAReportThatIsNotUnderstoodBlocks: a report that this worker cannot read is
// that of a live instance.
func TestAReportThatIsNotUnderstoodBlocks(t *testing.T) {
	t.Parallel()
	const begin = `{"service":"api","instance":"two","secrets":[`
	for name, body := range map[string]string{
		"a status of a later client, of the new version": begin + `{"secret_id":"ID","version_id":"V2","status":"activating"}]}`,
		"a status of a later client, of the old version": begin + `{"secret_id":"ID","version_id":"V1","status":"activating"}]}`,
		"a reason that is too long":                      begin + `{"secret_id":"ID","version_id":"V1","status":"failed","reason":"` + strings.Repeat("x", 3000) + `"}]}`,
		"a status that is too long":                      begin + `{"secret_id":"ID","version_id":"V1","status":"` + strings.Repeat("x", 3000) + `"}]}`,
		"one malformed ID among many":                    begin + `{"secret_id":"ID","version_id":"V2","status":"applied"},{"secret_id":"a b","version_id":"1","status":"applied"}]}`,
		"a torn report":                                  begin,
		"a report that is too long":                      begin + `{"secret_id":"ID","version_id":"V2","status":"applied"}]` + strings.Repeat(" ", events.MaxReportSize) + `}`,
		"a report about another instance":                `{"service":"api","instance":"one","secrets":[{"secret_id":"ID","version_id":"V2","status":"applied"}]}`,
		"no report at all":                               "alive",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newRetirement(t)
			order := x.rollout(events.RolloutConverged, time.Now().Add(-time.Minute))
			x.log(t, order)
			body = strings.NewReplacer("V1", string(x.v1), "V2", string(x.v2)).Replace(body)
			if _, err := x.srv.Connect().Request(x.bus.Names().Report("api", "two"), []byte(body), time.Minute); err != nil {
				t.Fatal(err)
			}
			x.blocked(t, order)
			x.report(t, "two", x.v2)
			x.retires(t, order)
		})
	}
}

// TestTheTargetRevokesBeforeTheStoreRetires: the target is told of a version that
// the store still has. While it fails, the store keeps the version, and the next
// run revokes it again.
func TestTheTargetRevokesBeforeTheStoreRetires(t *testing.T) {
	t.Parallel()
	x := newRetirement(t)
	order := x.rollout(events.RolloutConverged, time.Now().Add(-time.Minute))
	x.log(t, order)
	x.probe.calls = nil
	x.probe.refuses = "revoke " + string(x.v1) + " " + string(secret.StagePrevious)
	if err := x.retire(t, order); err == nil || events.IsPermanent(err) {
		t.Errorf("retire: %v, want an error and a later try", err)
	}
	if _, _, err := x.st.Get(t.Context(), "ID", store.Selector{Version: x.v1}); err != nil {
		t.Errorf("the store retired what the target did not revoke: %v", err)
	}
	want := []string{x.probe.refuses + " " + string(x.v2), x.probe.refuses + " " + string(x.v2)}
	x.probe.refuses = ""
	x.retires(t, order)
	if !slices.Equal(x.probe.calls, want) {
		t.Errorf("the target saw %v, want %v", x.probe.calls, want)
	}
}
