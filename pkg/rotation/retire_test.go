package rotation_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// retirement is a rig whose second version is current, and an instance that
// uses it.
type retirement struct {
	*rig
	v2      secret.VersionID
	started time.Time
}

func newRetirement(t *testing.T, change func(*rotation.Config)) retirement {
	t.Helper()
	x := retirement{rig: newRig(t, change), started: time.Now().Add(-time.Hour)}
	if err := x.rotate(t, x.v1); err != nil {
		t.Fatal(err)
	}
	x.v2 = x.current(t)
	x.runs(t, "one", x.v2)
	return x
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

// blocked fails the test unless the order is to be tried again for the given
// reason, and v1 is left.
func (x retirement) blocked(t *testing.T, order events.Data, because string) {
	t.Helper()
	err := x.retire(t, order)
	if _, later := events.RetryDelay(err); err == nil || !strings.Contains(err.Error(), "still in use") || !strings.Contains(err.Error(), because) || !later {
		t.Errorf("retire: %v, want that the version is in use, %q, and a later try", err, because)
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
	if old := x.version(t, x.v1); old.Stage == secret.StagePrevious || old.ID != "" && !old.Empty {
		t.Errorf("the version before is %s, and empty: %t", old.Stage, old.Empty)
	}
	last, err := x.bus.Last(t.Context(), events.TypeRollout, "ID")
	if err != nil || last.Event.Data.Rollout.State != events.RolloutRetired {
		t.Errorf("the log says %+v, %v", last.Event.Data.Rollout, err)
	}
}

func (x retirement) version(t *testing.T, id secret.VersionID) secret.Version {
	t.Helper()
	m, err := x.st.Describe(t.Context(), "ID")
	if err != nil {
		t.Fatal(err)
	}
	v, _ := m.Version(id)
	return v
}

// silent waits until the lease of an instance, of one second, has run out, and its
// fence of as much.
func (x retirement) silent(t *testing.T, instance string) {
	t.Helper()
	waittest.Until(t, instance+" is silent", func() error {
		f, err := x.bus.Fleet(t.Context(), "ID")
		if err != nil {
			return err
		}
		for _, u := range f.Users {
			if u.Use.Instance == instance && f.At.After(u.RenewedAt.Add(1100*time.Millisecond)) {
				return nil
			}
		}
		return fmt.Errorf("%d users at %s", len(f.Users), f.At)
	})
}

func briefly(u *events.Use, p *events.Presence) { u.Fence, p.Lease = 1, 1 }

func refusing(u *events.Use, _ *events.Presence) { u.PastFence = events.PastFenceRefuse }

// TestRetireLooksForItself: an order proves nothing. The previous version lives
// until the log says that this very rollout has drained and its grace period is
// over, until the floor is over, and until no instance uses or accepts what was
// before.
func TestRetireLooksForItself(t *testing.T) {
	t.Parallel()
	past, future := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	in := func(state events.RolloutState, at time.Time) func(retirement) events.Data {
		return func(x retirement) events.Data { return x.rollout(state, at) }
	}
	drained := in(events.RolloutDraining, past)
	for name, c := range map[string]struct {
		log     func(x retirement) events.Data   // the last rollout event, nil for none
		order   func(x retirement) events.Data   // nil for one of the rollout that has drained
		fleet   func(t *testing.T, x retirement) // what else there is
		because string                           // a part of what keeps the version before, "" for nothing
		done    bool                             // nothing is left to do
	}{
		"draining, and the time has come": {log: drained},
		"retired by an earlier run":       {log: in(events.RolloutRetired, past), done: true},
		"draining, within the grace":      {log: in(events.RolloutDraining, future), because: "grace period"},
		"draining, without a time":        {log: in(events.RolloutDraining, time.Time{}), because: "no time of retirement"},
		"waiting for fences":              {log: in(events.RolloutWaiting, past), because: "is waiting"},
		"converged":                       {log: in(events.RolloutConverged, past), because: "is converged"},
		"rolling":                         {log: in(events.RolloutRolling, time.Time{}), because: "is rolling"},
		"rolling, with a time":            {log: in(events.RolloutRolling, past), because: "is rolling"},
		"stalled":                         {log: in(events.RolloutStalled, time.Time{}), because: "is stalled"},
		"superseded":                      {log: in(events.RolloutSuperseded, past), because: "is superseded"},
		"rolled back":                     {log: in(events.RolloutRolledBack, past), because: "is rolled_back"},
		"a state of a later program":      {log: in("waving", past), because: "is waving"},
		"no log":                          {because: "no rollout"},
		"the log is about another version": {because: "that of version v9", log: func(x retirement) events.Data {
			d := x.rollout(events.RolloutDraining, past)
			d.VersionID = "v9"
			return d
		}},
		"the version was announced again": {because: "announced again", log: func(x retirement) events.Data {
			d := x.rollout(events.RolloutDraining, past)
			d.Rollout.StartedAt = past
			return d
		}},
		"the order says nothing of its own": {because: "announced again", log: drained, order: func(x retirement) events.Data {
			d := x.rollout(events.RolloutDraining, past)
			d.Rollout = nil
			return d
		}},
		"another version was announced since": {because: "last announcement", log: drained, fleet: func(t *testing.T, x retirement) {
			e := events.Rotated("/test", time.Now(), events.Data{SecretID: "ID", Store: "mem", VersionID: "v9", PreviousVersionID: x.v2})
			if err := x.bus.Publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}},
		"an instance uses the version before": {because: "runs_other_version", log: drained, fleet: func(t *testing.T, x retirement) {
			x.runs(t, "two", x.v1)
		}},
		"an instance is joining": {because: "runs_other_version", log: drained, fleet: func(t *testing.T, x retirement) {
			x.runs(t, "two", "")
		}},
		"an instance accepts the version before": {because: "accepts_old_version", log: drained, fleet: func(t *testing.T, x retirement) {
			x.runs(t, "two", x.v2, func(u *events.Use, _ *events.Presence) { u.Accepts = append(u.Accepts, x.v1) })
		}},
		"an instance has an older client": {because: "accepts_old_version", log: drained, fleet: func(t *testing.T, x retirement) {
			x.report(t, "two", x.v2)
		}},
		"an instance has a longer fence, and so the floor is not over": {because: "floor", log: drained, fleet: func(t *testing.T, x retirement) {
			x.runs(t, "two", x.v2, func(u *events.Use, _ *events.Presence) { u.Fence = 3600 })
		}},
		"a silent instance serves on with the version before": {because: "api/two silent", log: drained, fleet: func(t *testing.T, x retirement) {
			x.runs(t, "two", x.v1, briefly)
			x.silent(t, "two")
		}},
		"a silent instance refuses the version before": {log: drained, fleet: func(t *testing.T, x retirement) {
			x.runs(t, "two", x.v1, briefly, refusing)
			x.silent(t, "two")
		}},
		"an instance that used the version before has ended": {log: drained, fleet: func(t *testing.T, x retirement) {
			x.runs(t, "two", x.v1, func(_ *events.Use, p *events.Presence) { p.Ended = true })
		}},
		"the only instance has ended": {because: "no_live_instance", log: drained, fleet: func(t *testing.T, x retirement) {
			x.runs(t, "one", x.v2, func(_ *events.Use, p *events.Presence) { p.Ended = true })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newRetirement(t, nil)
			order := x.rollout(events.RolloutDraining, past)
			if c.order != nil {
				order = c.order(x)
			}
			if c.log != nil {
				x.log(t, c.log(x))
			}
			if c.fleet != nil {
				c.fleet(t, x)
			}
			switch {
			case c.done:
				if err := x.retire(t, order); err != nil {
					t.Error(err)
				}
			case c.because != "":
				x.blocked(t, order, c.because)
			default:
				x.retires(t, order)
			}
		})
	}
}

// report publishes what an instance with an older client runs.
func (x retirement) report(t *testing.T, instance string, v secret.VersionID) {
	t.Helper()
	rep := events.Report{Service: "api", Instance: instance, At: time.Now(), Secrets: []events.Running{{SecretID: "ID", VersionID: v, Status: events.StatusApplied}}}
	if err := x.bus.Report(t.Context(), rep, time.Minute); err != nil {
		t.Fatal(err)
	}
}

// stages is a bus that notes the stage of a version whenever the fleet is read.
type stages struct {
	*events.Bus
	stage func() secret.Stage
	seen  []secret.Stage
}

func (s *stages) Fleet(ctx context.Context, id secret.ID) (events.Fleet, error) {
	s.seen = append(s.seen, s.stage())
	return s.Bus.Fleet(ctx, id)
}

// TestNoReaderFindsTheVersionBeforeOnceTheFleetIsRead: an instance that starts after
// the barrier must find nothing to accept. The stage is taken away only for a
// rollout that has drained, and the value stays until nothing blocks.
func TestNoReaderFindsTheVersionBeforeOnceTheFleetIsRead(t *testing.T) {
	t.Parallel()
	bus := &stages{}
	x := newRetirement(t, func(c *rotation.Config) {
		bus.Bus = c.Bus.(*events.Bus)
		c.Bus = bus
	})
	bus.stage = func() secret.Stage { return x.version(t, x.v1).Stage }
	order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	x.log(t, x.rollout(events.RolloutConverged, time.Now().Add(-time.Minute)))
	x.blocked(t, order, "is converged")
	x.log(t, order)
	x.runs(t, "two", x.v1)
	x.blocked(t, order, "runs_other_version")
	x.runs(t, "two", x.v2)
	x.retires(t, order)
	if want := []secret.Stage{secret.StagePrevious, secret.StageRetired, secret.StageRetired}; !slices.Equal(bus.seen, want) {
		t.Errorf("when the fleet was read the version before was %v, want %v", bus.seen, want)
	}
}

// TestARecordThatIsNotUnderstoodBlocks: a record that this worker cannot read is
// that of an instance that may use any version.
func TestARecordThatIsNotUnderstoodBlocks(t *testing.T) {
	t.Parallel()
	const begin = `{"service":"api","instance":"two","incarnation":"two","secret_id":"ID","accepts":[],`
	for name, body := range map[string]string{
		"a status of a later client":                    begin + `"version_id":"V2","status":"activating"}`,
		"a status of a later client, of an old version": begin + `"version_id":"V1","status":"activating"}`,
		"a reason that is too long":                     begin + `"version_id":"V1","status":"failed","reason":"` + strings.Repeat("x", 3000) + `"}`,
		"a status that is too long":                     begin + `"version_id":"V1","status":"` + strings.Repeat("x", 3000) + `"}`,
		"a malformed ID":                                begin + `"version_id":"a b","status":"applied"}`,
		"a torn record":                                 begin,
		"a record that is too long":                     begin + `"version_id":"V2","status":"applied"` + strings.Repeat(" ", events.MaxRecordSize) + `}`,
		"a record about another incarnation":            `{"service":"api","instance":"one","incarnation":"one","secret_id":"ID","version_id":"V2","status":"applied","accepts":[]}`,
		"no record at all":                              "alive",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newRetirement(t, nil)
			order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
			x.log(t, order)
			x.runs(t, "two", x.v2)
			x.raw(t, x.bus.Names().Use(secret.ID("ID").Key(), "api", "two"), body)
			x.blocked(t, order, "")
			x.runs(t, "two", x.v2)
			x.retires(t, order)
		})
	}
}

// TestAReportThatIsNotUnderstoodBlocks: so is a report of an older client, until
// that has ended.
func TestAReportThatIsNotUnderstoodBlocks(t *testing.T) {
	t.Parallel()
	const begin = `{"service":"api","instance":"two","secrets":[`
	for name, body := range map[string]string{
		"a status of a later client":      begin + `{"secret_id":"ID","version_id":"V2","status":"activating"}]}`,
		"one malformed ID among many":     begin + `{"secret_id":"ID","version_id":"V2","status":"applied"},{"secret_id":"a b","version_id":"1","status":"applied"}]}`,
		"a torn report":                   begin,
		"a report that is too long":       begin + `{"secret_id":"ID","version_id":"V2","status":"applied"}]` + strings.Repeat(" ", events.MaxReportSize) + `}`,
		"a report about another instance": `{"service":"api","instance":"one","secrets":[{"secret_id":"ID","version_id":"V2","status":"applied"}]}`,
		"no report at all":                "alive",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newRetirement(t, nil)
			order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
			x.log(t, order)
			x.raw(t, x.bus.Names().Report("api", "two"), body)
			x.blocked(t, order, "")
			if err := x.bus.Withdraw(t.Context(), "api", "two"); err != nil {
				t.Fatal(err)
			}
			x.retires(t, order)
		})
	}
}

// raw publishes any body as a record; V1 and V2 stand for the versions.
func (x retirement) raw(t *testing.T, subject, body string) {
	t.Helper()
	body = strings.NewReplacer("V1", string(x.v1), "V2", string(x.v2)).Replace(body)
	if _, err := x.srv.Connect().Request(subject, []byte(body), time.Minute); err != nil {
		t.Fatal(err)
	}
}

// TestTheTargetRevokesBeforeTheStoreRetires: the target is told of a version whose
// value the store still has. While it fails, the store keeps the value, and the
// next run revokes it again.
func TestTheTargetRevokesBeforeTheStoreRetires(t *testing.T) {
	t.Parallel()
	x := newRetirement(t, nil)
	order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	x.log(t, order)
	x.probe.calls = nil
	x.probe.refuses = "revoke " + string(x.v1) + " " + string(secret.StageRetired)
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
