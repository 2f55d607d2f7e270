package rotation_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// watched is a target that tells what its server sees.
type watched struct {
	target.Target
	can     target.InUse
	late    time.Duration
	usage   target.Usage
	err     error
	asked   []secret.VersionID
	revoked int
}

func (w *watched) Capabilities() target.Capabilities {
	return target.Capabilities{Overlap: target.OverlapAny, InUse: w.can, UseLag: w.late}
}

func (w *watched) InUse(_ context.Context, r target.Ref) (target.Usage, error) {
	w.asked = append(w.asked, r.Version)
	return w.usage, w.err
}

func (w *watched) Revoke(context.Context, target.Ref, target.Drain) error {
	w.revoked++
	return nil
}

// armed notes what a worker arms.
type armed struct {
	event events.Event
	at    time.Time
}

func (a *armed) Arm(_ context.Context, e events.Event, at time.Time) (bool, error) {
	a.event, a.at = e, at
	return true, nil
}

// draining is a retirement that every instance agrees to, at a target that tells.
type draining struct {
	retirement
	w     *watched
	timer armed
	order events.Data
}

func newDraining(t *testing.T) *draining {
	t.Helper()
	d := &draining{w: &watched{Target: target.ValueOnly{}, can: target.InUseSessions}}
	d.retirement = newRetirement(t, func(c *rotation.Config) {
		c.Timers = &d.timer
		c.TargetFor = func(context.Context, secret.Spec) (target.Target, error) { return d.w, nil }
	})
	d.order = d.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	d.log(t, d.order)
	return d
}

// try carries the order out, and arms the next try as a worker does.
func (d *draining) try(t *testing.T) error {
	t.Helper()
	err := d.retire(t, d.order)
	if err == nil {
		return nil
	}
	delivery := events.Delivery{Event: events.Event{Type: events.TypeRetire, Data: d.order}}
	if rerr := d.r.Retry(t.Context(), delivery, err); rerr != nil {
		t.Fatal(rerr)
	}
	d.order.Retry = d.timer.event.Data.Retry
	return err
}

// waits tries and fails the test unless nothing is revoked, because of something.
func (d *draining) waits(t *testing.T, because string) {
	t.Helper()
	err := d.try(t)
	if err == nil || !strings.Contains(err.Error(), "still in use") || !strings.Contains(err.Error(), because) || d.w.revoked > 0 {
		t.Errorf("%v, %d revoked; want that it waits: %s", err, d.w.revoked, because)
	}
}

// TestSessionsAtTheTargetHoldARetirementBack: every instance reports the new version,
// and the target sees a session of the old one. Nothing is revoked before the target
// has seen none for the whole grace period, and any session begins that anew.
func TestSessionsAtTheTargetHoldARetirementBack(t *testing.T) {
	t.Parallel()
	d := newDraining(t)
	d.w.usage.Sessions = []target.Session{{Client: "192.0.2.7:41234", Since: time.Unix(0, 0)}}
	d.waits(t, "sessions with an older version are open at the target (1): 192.0.2.7:41234 since 1970")
	if d.w.asked[0] != d.v1 {
		t.Errorf("the target was asked about version %s, want %s", d.w.asked[0], d.v1)
	}
	if !d.order.Retry.QuietSince.IsZero() {
		t.Error("an open session counts as quiet")
	}
	if open := d.order.Retry.InUse.Named(); len(open) != 1 || open[0].Instance != "192.0.2.7:41234" || open[0].Reason != events.BlockInUse || open[0].VersionID != d.v1 {
		t.Errorf("what status shows of the sessions: %+v", open)
	}
	d.w.usage.Sessions = nil
	d.waits(t, "for 0s, of 5m0s")
	if d.order.Retry.InUse != nil {
		t.Errorf("sessions that have ended are shown: %+v", d.order.Retry.InUse)
	}
	if since := d.order.Retry.QuietSince; time.Since(since) > time.Minute {
		t.Errorf("quiet since %s", since)
	}
	d.order.Retry.QuietSince = time.Now().Add(-4*time.Minute - 30*time.Second)
	d.waits(t, "for 4m30s, of 5m0s")
	if left := time.Until(d.timer.at); left > 31*time.Second {
		t.Errorf("the next try is in %s, want what is left of the window", left)
	}
	if since := d.order.Retry.QuietSince; time.Since(since) < 4*time.Minute {
		t.Error("a quiet try began the window anew")
	}
	d.w.usage.Sessions = []target.Session{{Client: "192.0.2.8:5"}}
	d.waits(t, "192.0.2.8")
	if !d.order.Retry.QuietSince.IsZero() {
		t.Error("an open session did not begin the window anew")
	}
	d.w.usage.Sessions, d.order.Retry.QuietSince = nil, time.Now().Add(-5*time.Minute)
	if err := d.try(t); err != nil || d.w.revoked != 1 {
		t.Errorf("after a quiet window: %v, %d revoked", err, d.w.revoked)
	}
}

// TestUnknownUseHoldsARetirementBack: a target that can tell, and cannot for now, has
// not said that there is no session.
func TestUnknownUseHoldsARetirementBack(t *testing.T) {
	t.Parallel()
	d := newDraining(t)
	d.order.Retry.QuietSince = time.Now().Add(-time.Hour)
	d.w.err = errors.New("no route to host")
	d.waits(t, "unknown: no route to host")
	d.w.err = target.ErrUnsupported
	d.waits(t, "unknown: not supported")
}

// TestATargetThatNeverTellsGivesADoubtfulProof: such a target holds nothing back, and
// its silence is no yes. The receipt says that the proof has one side.
func TestATargetThatNeverTellsGivesADoubtfulProof(t *testing.T) {
	t.Parallel()
	d := newDraining(t)
	d.w.can, d.w.err = target.InUseUnknown, target.ErrUnsupported
	if err := d.try(t); err != nil || d.w.revoked != 1 {
		t.Errorf("%v, %d revoked", err, d.w.revoked)
	}
	got, sealed := d.receipts(t)
	if len(got) != 1 || !strings.Contains(strings.Join(got[0].Doubts, ";"), "the target cannot tell") || len(got[0].Target) > 0 {
		t.Fatalf("receipts %+v", got)
	}
	text, err := json.Marshal(sealed[0])
	if err != nil {
		t.Fatal(err)
	}
	if c := inspect.CheckReceipts(text, nil); !c[0].Valid || !strings.Contains(c[0].Sentence(), "the target cannot tell") {
		t.Errorf("%+v", c)
	}
}

// TestAReceiptSaysWhatTheTargetSaw: of a target that tells, and of a secret without a
// target, which nothing is to be said of.
func TestAReceiptSaysWhatTheTargetSaw(t *testing.T) {
	t.Parallel()
	d := newDraining(t)
	d.order.Retry.QuietSince = time.Now().Add(-time.Hour)
	if err := d.try(t); err != nil {
		t.Fatal(err)
	}
	got, _ := d.receipts(t)
	if len(got) != 1 || len(got[0].Target) != 1 || got[0].Target[0].VersionID != d.v1 || got[0].Target[0].Sessions != 0 || len(got[0].Doubts) > 0 {
		t.Errorf("receipts %+v", got)
	}
	got[0].Target[0].Sessions = 1
	if err := rollout.Replay(got[0]); err == nil || !strings.Contains(err.Error(), "saw sessions") {
		t.Errorf("a receipt of sessions that were open is valid: %v", err)
	}
	x := newRetirement(t, func(c *rotation.Config) { c.TargetFor = nil })
	order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	x.log(t, order)
	if err := x.retire(t, order); err != nil {
		t.Fatal(err)
	}
	if got, _ := x.receipts(t); len(got) != 1 || len(got[0].Target)+len(got[0].Doubts) > 0 {
		t.Errorf("receipts of a secret without a target %+v", got)
	}
}

// TestALastUseHoldsARetirementBack: for the grace period after it.
func TestALastUseHoldsARetirementBack(t *testing.T) {
	t.Parallel()
	d := newDraining(t)
	d.w.can, d.w.usage.LastUsed = target.InUseLastUsed, time.Now().Add(-time.Minute)
	d.order.Retry.QuietSince = time.Now().Add(-time.Hour)
	d.waits(t, "last used")
	d.w.usage.LastUsed, d.order.Retry.QuietSince = time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)
	d.order.Retry.LastUsed = d.w.usage.LastUsed
	if err := d.try(t); err != nil || d.w.revoked != 1 {
		t.Errorf("%v, %d revoked", err, d.w.revoked)
	}
}

// TestAUseWithinTheWindowCountsByAnyClock: the clock of this worker is ahead of that of the
// target by more than the window. A use between two tries begins the window anew.
func TestAUseWithinTheWindowCountsByAnyClock(t *testing.T) {
	t.Parallel()
	d := newDraining(t)
	d.w.can, d.w.usage.LastUsed = target.InUseLastUsed, time.Now().Add(-3*time.Hour)
	d.waits(t, "for 0s, of 5m0s")
	d.order.Retry.QuietSince = time.Now().Add(-time.Hour)
	d.w.usage.LastUsed = d.w.usage.LastUsed.Add(time.Minute)
	d.waits(t, "for 0s, of 5m0s")
	d.order.Retry.QuietSince = time.Now().Add(-time.Hour)
	if err := d.try(t); err != nil || d.w.revoked != 1 {
		t.Errorf("after a window without use: %v, %d revoked", err, d.w.revoked)
	}
}

// ended is a target that ends sessions.
type ended struct {
	watched
	calls []bool
}

func (e *ended) End(_ context.Context, _ target.Ref, idle bool) error {
	e.calls = append(e.calls, idle)
	if !idle {
		e.usage.Sessions = nil
	}
	return e.err
}

// TestTheDeadlineOfADrain: until it nothing but the wait happens. Then wait alerts and ends
// nothing, and the other modes end sessions again at each try; no mode revokes a version
// while a session of it is open.
func TestTheDeadlineOfADrain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		drain   secret.Drain
		began   time.Duration
		overdue bool
		ends    []bool
	}{
		{secret.Drain{}, 59 * time.Minute, false, nil},
		{secret.Drain{}, time.Hour, true, nil},
		{secret.Drain{Mode: secret.DrainWait, Deadline: time.Minute}, time.Minute, true, nil},
		{secret.Drain{Mode: secret.DrainWait, Deadline: -1}, 24 * time.Hour, false, nil},
		{secret.Drain{Mode: secret.DrainEndAll, Deadline: -1}, 24 * time.Hour, false, nil},
		{secret.Drain{Mode: secret.DrainEndAll}, 59 * time.Minute, false, nil},
		{secret.Drain{Mode: secret.DrainEndAll}, time.Hour, false, []bool{false}},
		{secret.Drain{Mode: secret.DrainEndIdle}, time.Hour, false, []bool{true}},
		{secret.Drain{Mode: secret.DrainEndIdle}, 2 * time.Hour, true, []bool{true}},
	} {
		e := &ended{watched: watched{Target: target.ValueOnly{}, can: target.InUseSessions}}
		var timer armed
		x := newRetirement(t, func(cfg *rotation.Config) {
			cfg.Timers = &timer
			cfg.TargetFor = func(context.Context, secret.Spec) (target.Target, error) { return e, nil }
			st, _ := cfg.Stores.Get("mem")
			cfg.Catalog, cfg.Stores = rotation.Configured(t, st, secret.Spec{ID: "ID", Store: "mem", Services: []string{"api"}, Create: true, Fence: 1, Drain: c.drain})
		})
		order := x.rollout(events.RolloutDraining, time.Now().Add(-c.began))
		x.log(t, order)
		e.usage.Sessions = []target.Session{{Client: "192.0.2.7:41234"}}
		err := x.retire(t, order)
		if err == nil || !strings.Contains(err.Error(), "192.0.2.7") || e.revoked > 0 {
			t.Errorf("%+v: %v, %d revoked", c, err, e.revoked)
		}
		if rerr := x.r.Retry(t.Context(), events.Delivery{Event: events.Event{Type: events.TypeRetire, Data: order}}, err); rerr != nil {
			t.Fatal(rerr)
		}
		retry := timer.event.Data.Retry
		if overdue := retry.Failure.Code == events.CodeDrainOverdue; overdue != c.overdue {
			t.Errorf("%+v: failure %+v", c, retry.Failure)
		}
		if !slices.Equal(e.calls, c.ends) {
			t.Errorf("%+v: End was called with %v", c, e.calls)
		}
		if len(retry.InUse.Named()) != 1 || !retry.QuietSince.IsZero() {
			t.Errorf("%+v: the next try knows %+v", c, retry)
		}
	}
}
