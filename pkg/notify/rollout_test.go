package notify_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/notify"
	"github.com/tradepulse/rotator/pkg/secret"
)

const id = secret.ID("TRADEPULSE_AUDIT_SECRET_ID")

var (
	t0      = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	blocked = []events.Blocker{{Service: "api", Instance: "one", Reason: events.BlockOldVersion}}
)

func TestAdvance(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state  events.RolloutState
		age    time.Duration
		facts  notify.Facts
		want   events.RolloutState
		reason notify.Reason
	}{
		"it converges when nobody blocks":            {events.RolloutRolling, time.Second, notify.Facts{Applied: 2, Grace: time.Minute}, events.RolloutConverged, notify.ReasonAllApplied},
		"it rolls on while somebody blocks":          {events.RolloutRolling, time.Second, notify.Facts{Blocking: blocked, Deadline: time.Minute}, events.RolloutRolling, notify.ReasonNone},
		"it stalls at its deadline":                  {events.RolloutRolling, time.Minute, notify.Facts{Blocking: blocked, Deadline: time.Minute}, events.RolloutStalled, notify.ReasonDeadline},
		"it never stalls without a deadline":         {events.RolloutRolling, 1000 * time.Hour, notify.Facts{Blocking: blocked}, events.RolloutRolling, notify.ReasonNone},
		"a stalled one converges late":               {events.RolloutStalled, time.Hour, notify.Facts{Applied: 1}, events.RolloutConverged, notify.ReasonAllApplied},
		"a stalled one stays stalled":                {events.RolloutStalled, time.Hour, notify.Facts{Blocking: blocked, Deadline: time.Minute}, events.RolloutStalled, notify.ReasonNone},
		"a converged one falls back on an old comer": {events.RolloutConverged, time.Second, notify.Facts{Blocking: blocked}, events.RolloutRolling, notify.ReasonRegressed},
		"a retired one is at its end":                {events.RolloutRetired, time.Hour, notify.Facts{Blocking: blocked, Deadline: time.Second}, events.RolloutRetired, notify.ReasonNone},
		"a superseded one is at its end":             {events.RolloutSuperseded, time.Hour, notify.Facts{Applied: 1}, events.RolloutSuperseded, notify.ReasonNone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := t0.Add(c.age)
			got, reason := notify.Advance(now, notify.Rollout{State: c.state, Since: t0, StartedAt: t0}, c.facts)
			if got.State != c.want || reason != c.reason {
				t.Errorf("%s (%s), want %s (%s)", got.State, reason, c.want, c.reason)
			}
			if got.State == events.RolloutConverged && reason != notify.ReasonNone && !got.RetireAt.Equal(now.Add(c.facts.Grace)) {
				t.Errorf("retire at %s, want %s", got.RetireAt, now.Add(c.facts.Grace))
			}
		})
	}
}

// TestARolloutConvergesOnlyOnProof takes a rollout through any history: it is
// converged exactly while nobody blocks, and its retirement is never sooner than
// the grace period after the moment when the last one stopped to.
func TestARolloutConvergesOnlyOnProof(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, now, free := notify.Rollout{State: events.RolloutRolling, Since: t0, StartedAt: t0}, t0, time.Time{}
		grace := time.Duration(rapid.IntRange(0, 600).Draw(t, "grace")) * time.Second
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "seconds")) * time.Second)
			f := notify.Facts{Grace: grace, Deadline: 10 * time.Minute, Applied: 1}
			if rapid.Bool().Draw(t, "blocked") {
				f.Blocking, free = blocked, time.Time{}
			} else if free.IsZero() {
				free = now
			}
			r, _ = notify.Advance(now, r, f)
			if (r.State == events.RolloutConverged) != (len(f.Blocking) == 0) {
				t.Fatalf("%s with %d blocking", r.State, len(f.Blocking))
			}
			if r.State == events.RolloutConverged && r.RetireAt.Before(free.Add(grace)) {
				t.Fatalf("retire at %s, free since %s", r.RetireAt, free)
			}
		}
	})
}

// TestNothingIsRetiredOnHope follows a rollout on a real bus: silence stalls it,
// the last instance's report converges it, and one announcement of each
// transition is published although two notifiers watch.
func TestNothingIsRetiredOnHope(t *testing.T) {
	t.Parallel()
	s := eventstest.NewServer(t)
	bus := s.NewBus(events.StreamOptions{})
	spec := secret.Spec{ID: id, Store: "main", Services: []string{"api", "batch"}, Deadline: 300 * time.Millisecond, Grace: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range 2 {
		n, err := notify.New(notify.Config{
			Bus: s.NewBus(events.StreamOptions{}), Source: "/test", Logger: slog.New(slog.DiscardHandler),
			Specs: func(want secret.ID) (secret.Spec, bool) { return spec, want == id },
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- n.Run(ctx) }()
	}
	states := make(chan events.RolloutState, 16)
	go func() {
		done <- bus.WatchLog(ctx, []events.Type{events.TypeRollout}, func(_ context.Context, a events.Announcement) error {
			states <- a.Event.Data.Rollout.State
			return nil
		})
	}()
	rotated := events.Rotated("/test", time.Now(), events.Data{SecretID: id, Store: "main", VersionID: "v2", PreviousVersionID: "v1", Reason: events.ReasonManual})
	if _, err := bus.PublishAfter(t.Context(), rotated, 0); err != nil {
		t.Fatal(err)
	}
	report := func(service string, v secret.VersionID) {
		t.Helper()
		r := events.Report{Service: service, Instance: "one", At: time.Now(), Secrets: []events.Running{{SecretID: id, VersionID: v, Status: events.StatusApplied}}}
		if err := bus.Report(t.Context(), r, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	report("api", "v2")
	if got := <-states; got != events.RolloutStalled {
		t.Fatalf("with one service silent it is %s, want stalled", got)
	}
	if timer, err := bus.Timer(t.Context(), events.TypeRetire, id); err != nil || timer.Seq != 0 {
		t.Errorf("a retirement is armed on silence: %+v, err %v", timer, err)
	}
	report("batch", "v1")
	report("batch", "v2")
	if got := <-states; got != events.RolloutConverged {
		t.Fatalf("once both run it, it is %s, want converged", got)
	}
	for {
		if timer, err := bus.Timer(t.Context(), events.TypeRetire, id); err != nil {
			t.Fatal(err)
		} else if timer.Seq != 0 {
			if left := time.Until(timer.At); left < 50*time.Minute || timer.Event.Data.PreviousVersionID != "v1" {
				t.Errorf("the retirement of %s is armed for in %s", timer.Event.Data.PreviousVersionID, left)
			}
			break
		}
	}
	if last, err := bus.LastNotified(t.Context(), "batch", id); err != nil || last.Event.Data.VersionID != "v2" {
		t.Errorf("batch was told of %q, err %v", last.Event.Data.VersionID, err)
	}
	cancel()
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if len(states) > 0 {
		t.Errorf("a transition was published again: %s", <-states)
	}
}
