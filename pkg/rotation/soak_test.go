package rotation_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// suspending is a target that suspends, and tells of the uses that it refused.
type suspending struct {
	watched
	overlap   target.Overlap
	cannot    bool
	fails     error
	suspended bool
	calls     []string
	refused   []target.Session
	within    time.Duration // that it was asked about
}

func (s *suspending) Capabilities() target.Capabilities {
	return target.Capabilities{Overlap: s.overlap, InUse: s.can, Suspends: !s.cannot}
}

func (s *suspending) Suspend(context.Context, target.Ref) error { return s.call("suspend", true) }
func (s *suspending) Resume(context.Context, target.Ref) error  { return s.call("resume", false) }

func (s *suspending) call(name string, suspended bool) error {
	s.calls = append(s.calls, name)
	if s.fails == nil {
		s.suspended = suspended
	}
	return s.fails
}

func (s *suspending) Refused(_ context.Context, _ target.Ref, within time.Duration) ([]target.Session, error) {
	s.within = within
	return s.refused, s.err
}

// soaking is a retirement that has drained, at a target that suspends.
type soaking struct {
	draining
	s *suspending
}

func newSoaking(t *testing.T, drain secret.Drain) *soaking {
	t.Helper()
	x := &soaking{s: &suspending{watched: watched{Target: target.ValueOnly{}, can: target.InUseSessions}, overlap: target.OverlapAlternate}}
	x.w = &x.s.watched
	x.retirement = newRetirement(t, func(c *rotation.Config) {
		c.Timers = &x.timer
		c.TargetFor = func(context.Context, secret.Spec) (target.Target, error) { return x.s, nil }
		st, _ := c.Stores.Get("mem")
		c.Catalog, c.Stores = rotation.Configured(t, st, secret.Spec{ID: "ID", Store: "mem", Services: []string{"api"}, Create: true, Fence: 1, Drain: drain})
	})
	x.order = x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	x.log(t, x.order)
	x.order.Retry.QuietSince = time.Now().Add(-time.Hour)
	return x
}

// suspend makes the try that suspends.
func (x *soaking) suspend(t *testing.T) {
	t.Helper()
	x.waits(t, "it is suspended until")
	if !x.s.suspended || x.order.Retry.SuspendedAt.IsZero() || !x.logged(t).Suspended {
		t.Fatalf("suspended %t since %s, and the log says %+v", x.s.suspended, x.order.Retry.SuspendedAt, x.logged(t))
	}
}

// soaked makes the suspension as old as the soak.
func (x *soaking) soaked() { x.order.Retry.SuspendedAt = time.Now().Add(-5 * time.Minute) }

// logged returns the last rollout event.
func (x *soaking) logged(t *testing.T) events.Rollout {
	t.Helper()
	last, err := x.bus.Last(t.Context(), events.TypeRollout, "ID")
	if err != nil {
		t.Fatal(err)
	}
	return *last.Event.Data.Rollout
}

// cameBack fails the test unless the version is valid again and the log says so.
func (x *soaking) cameBack(t *testing.T, state events.RolloutState) {
	t.Helper()
	if ro := x.logged(t); x.s.suspended || x.w.revoked > 0 || ro.Suspended || ro.State != state {
		t.Errorf("suspended %t, %d revoked, the log says %+v", x.s.suspended, x.w.revoked, ro)
	}
}

// TestWhatIsRevokedWasSuspended: for the whole soak, and the receipt says so.
func TestWhatIsRevokedWasSuspended(t *testing.T) {
	t.Parallel()
	x := newSoaking(t, secret.Drain{})
	x.suspend(t)
	if got, _ := x.receipts(t); len(got) > 0 {
		t.Errorf("receipts before the revocation: %+v", got)
	}
	x.waits(t, "it is suspended until")
	x.soaked()
	since := x.order.Retry.SuspendedAt
	if err := x.try(t); err != nil || x.w.revoked != 1 || !slices.Equal(x.s.calls, []string{"suspend"}) {
		t.Errorf("%v, %d revoked, calls %v", err, x.w.revoked, x.s.calls)
	}
	if x.s.within < 5*time.Minute || x.s.within > 6*time.Minute {
		t.Errorf("it was asked for refusals within %s", x.s.within)
	}
	if ro := x.logged(t); ro.State != events.RolloutRetired || ro.Suspended {
		t.Errorf("the log says %+v", ro)
	}
	got, _ := x.receipts(t)
	if len(got) != 1 || got[0].Soak == nil || !got[0].Soak.SuspendedAt.Equal(since) || !got[0].Soak.Watched || got[0].Soak.Skipped != "" {
		t.Errorf("receipts %+v", got)
	}
}

// TestASuspendedVersionThatIsUsedComesBack: its client is named in the log of the bus and
// for status, and the version is suspended again only after a longer quiet time.
func TestASuspendedVersionThatIsUsedComesBack(t *testing.T) {
	t.Parallel()
	client := target.Session{Client: "192.0.2.7:41234", Since: time.Now()}
	for name, use := range map[string]func(*suspending){
		"a refused login": func(s *suspending) { s.refused = []target.Session{client} },
		"a session":       func(s *suspending) { s.usage.Sessions = []target.Session{client} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newSoaking(t, secret.Drain{})
			x.suspend(t)
			x.soaked()
			use(x.s)
			x.waits(t, "192.0.2.7:41234")
			x.cameBack(t, events.RolloutDraining)
			if b := x.logged(t).Blocking; len(b) != 1 || b[0].Instance != client.Client || b[0].Reason != events.BlockInUse {
				t.Errorf("the log names %+v", b)
			}
			r := x.order.Retry
			if r.Resumed == nil || r.Resumed.Times != 1 || len(r.Resumed.Clients.Named()) != 1 || !r.SuspendedAt.IsZero() || !r.QuietSince.IsZero() || r.Failure.Code != events.CodeSuspendedUse {
				t.Errorf("the next try knows %+v", r)
			}
			x.s.refused, x.s.usage.Sessions = nil, nil
			x.order.Retry.QuietSince = time.Now().Add(-6 * time.Minute)
			x.waits(t, "of 10m0s")
			x.order.Retry.QuietSince = time.Now().Add(-10 * time.Minute)
			x.suspend(t)
			use(x.s)
			x.waits(t, "192.0.2.7:41234")
			if n := x.order.Retry.Resumed.Times; n != 2 {
				t.Errorf("it came back %d times, want 2", n)
			}
		})
	}
}

// TestAFleetThatFallsBackResumes: an instance needs the suspended version, which the
// notifier may have said first.
func TestAFleetThatFallsBackResumes(t *testing.T) {
	t.Parallel()
	x := newSoaking(t, secret.Drain{})
	x.suspend(t)
	x.runs(t, "two", x.v1)
	x.waits(t, "api/two")
	x.cameBack(t, events.RolloutDraining)
	if x.order.Retry.Resumed != nil {
		t.Errorf("no use was seen at the target, and the next try knows %+v", x.order.Retry.Resumed)
	}
	y := newSoaking(t, secret.Drain{})
	y.suspend(t)
	rolling := y.rollout(events.RolloutRolling, time.Time{})
	rolling.Rollout.Suspended = true
	y.log(t, rolling)
	if err := y.try(t); err != nil {
		t.Errorf("%v, want no other try: the rollout orders one when it drains", err)
	}
	y.cameBack(t, events.RolloutRolling)
}

// TestATargetThatDoesNotAnswerKeepsASuspension: what is not known resumes nothing and
// revokes nothing, and the soak counts on.
func TestATargetThatDoesNotAnswerKeepsASuspension(t *testing.T) {
	t.Parallel()
	x := newSoaking(t, secret.Drain{})
	x.suspend(t)
	x.soaked()
	x.w.err = errors.New("no route to host")
	x.waits(t, "unknown: no route to host")
	if !x.s.suspended || x.order.Retry.SuspendedAt.IsZero() {
		t.Errorf("suspended %t, since %s", x.s.suspended, x.order.Retry.SuspendedAt)
	}
	x.w.err = nil
	x.s.refused = []target.Session{{Client: "192.0.2.7:1"}}
	x.s.fails = errors.New("no route to host")
	x.waits(t, "resume what is suspended")
	if !x.logged(t).Suspended {
		t.Error("the log says that it came back")
	}
	x.s.fails = nil
	x.waits(t, "192.0.2.7:1")
	x.cameBack(t, events.RolloutDraining)
}

// TestAWorkerDiesDuringASuspension: whatever of a try is lost, the next one suspends, and
// revokes nothing before a whole soak.
func TestAWorkerDiesDuringASuspension(t *testing.T) {
	t.Parallel()
	x := newSoaking(t, secret.Drain{})
	fresh := x.order
	x.s.fails = errors.New("killed")
	if err := x.try(t); err == nil || !x.logged(t).Suspended || x.s.suspended {
		t.Fatalf("%v, the log says %+v", err, x.logged(t))
	}
	x.s.fails, x.order = nil, fresh // after the log, before the target
	x.suspend(t)
	x.order = fresh // after the target, before the next try is armed
	x.suspend(t)
	if got := x.s.calls; len(got) != 3 {
		t.Errorf("calls %v", got)
	}
	old := x.order
	old.Retry.SuspendedAt = time.Now().Add(-time.Hour)
	x.s.refused = []target.Session{{Client: "192.0.2.7:1"}}
	x.waits(t, "192.0.2.7:1")
	x.cameBack(t, events.RolloutDraining)
	x.s.refused, x.order = nil, old // another worker has resumed it since
	x.suspend(t)
	x.soaked()
	if err := x.try(t); err != nil || x.w.revoked != 1 {
		t.Errorf("%v, %d revoked", err, x.w.revoked)
	}
}

// TestWhatSuspendsNothing: the version is revoked at once, and the receipt says why.
func TestWhatSuspendsNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drain  secret.Drain
		change func(*soaking, *testing.T)
		says   string
	}{
		"soak: none":                {secret.Drain{Soak: -1}, func(*soaking, *testing.T) {}, "soak: none"},
		"no overlap":                {secret.Drain{}, func(x *soaking, _ *testing.T) { x.s.overlap = target.OverlapNone }, "replaced"},
		"it says so":                {secret.Drain{}, func(x *soaking, _ *testing.T) { x.s.cannot = true }, "suspends no credential"},
		"it turns out not to":       {secret.Drain{}, func(x *soaking, _ *testing.T) { x.s.fails = target.ErrUnsupported }, "suspends no credential"},
		"a suspension and no cause": {secret.Drain{Soak: -1}, func(x *soaking, _ *testing.T) { x.order.Retry.SuspendedAt = time.Now() }, "soak: none"},
		"an emergency": {secret.Drain{}, func(x *soaking, t *testing.T) {
			x.order.Reason = events.ReasonEmergency
			x.log(t, x.order)
		}, "an emergency"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newSoaking(t, c.drain)
			c.change(x, t)
			if err := x.try(t); err != nil || x.w.revoked != 1 || x.s.suspended {
				t.Fatalf("%v, %d revoked, suspended %t", err, x.w.revoked, x.s.suspended)
			}
			if got, _ := x.receipts(t); len(got) != 1 || got[0].Soak == nil || !strings.Contains(got[0].Soak.Skipped, c.says) || !got[0].Soak.SuspendedAt.IsZero() {
				t.Errorf("receipts %+v", got)
			}
			if ro := x.logged(t); ro.State != events.RolloutRetired || ro.Suspended {
				t.Errorf("the log says %+v", ro)
			}
		})
	}
}

// TestTheCurrentCredentialIsNotSuspended: a rollback made the current version from the
// value of the one before, so that nothing of it is to be suspended.
func TestTheCurrentCredentialIsNotSuspended(t *testing.T) {
	t.Parallel()
	x := newSoaking(t, secret.Drain{})
	x.s.fails = target.ErrCurrent
	x.waits(t, "it is suspended until")
	x.soaked()
	if err := x.try(t); err != nil || x.w.revoked != 1 {
		t.Errorf("%v, %d revoked", err, x.w.revoked)
	}
}
