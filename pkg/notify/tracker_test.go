//go:build !race

package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	rolling    = events.RolloutRolling
	converged  = events.RolloutConverged
	stalled    = events.RolloutStalled
	waiting    = events.RolloutWaiting
	draining   = events.RolloutDraining
	superseded = events.RolloutSuperseded
	retired    = events.RolloutRetired
)

const id = secret.ID("AUDIT")

// longLease is the lease of an instance that renews its presence.
const longLease = 2 * time.Minute

func TestARolloutConvergesDrainsAndItsRetirementIsOrdered(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Grace: 7 * time.Minute})
		s.runs("api", "1", "v1", id)
		s.runs("api", "2", "v1", id)
		s.start().ready()
		begin := time.Now()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling)
		s.runs("api", "1", "v2", id)
		s.becomes(id, "v2", rolling)
		s.runs("api", "2", "v2", id)
		s.becomes(id, "v2", rolling, converged)
		if timer, err := s.bus.Timer(t.Context(), events.TypeRetire, id); err != nil || timer.Seq != 0 {
			t.Errorf("got %+v, %v, want no timer before the grace period is over", timer, err)
		}
		live(7 * time.Minute)
		s.becomes(id, "v2", rolling, converged, draining)
		if told := s.lastNotified("api"); told.Rollout == nil || told.Rollout.State != draining {
			t.Errorf("the service was told %+v", told)
		}

		d := s.last(id)
		if ro := d.Rollout; ro.Applied != 2 || len(ro.Blocking) != 0 || ro.StartedAt.Before(begin) || !ro.RetireAt.Equal(ro.ConvergedAt.Add(7*time.Minute)) {
			t.Errorf("got %+v", *d.Rollout)
		}
		orders := s.orders()
		live(7 * time.Minute)
		s.becomes(id, "v2", rolling, converged, draining)
		s.until("the retirement is ordered", func() bool { return len(orders()) == 1 })
		want := orders()[0]
		if want.VersionID != "v2" || want.PreviousVersionID != "v1" || want.Store != "mem" || want.Rollout.State != draining {
			t.Errorf("got the order %+v", want)
		}
	})
}

func TestAFirstVersionConvergesWithoutAnythingToRetire(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		p := s.start().ready()
		s.announce(id, "v1", "")
		s.runs("api", "1", "v1", id)
		s.becomes(id, "v1", rolling, converged)
		if timer, err := s.bus.Timer(t.Context(), events.TypeRetire, id); err != nil || timer.Seq != 0 {
			t.Errorf("got %+v, %v, want no timer", timer, err)
		}
		p.tracker.mu.Lock()
		defer p.tracker.mu.Unlock()
		if n := p.tracker.deadlines.Len(); n != 0 {
			t.Errorf("the tracker still waits for %d rollouts", n)
		}
	})
}

func TestTwoNotifiersPublishEachMoveOnce(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		var ids []secret.ID
		for _, c := range "ABCDEFGHIJKLMNOPQRST" {
			ids = append(ids, secret.ID("SECRET_"+string(c)))
			s.configure(secret.Spec{ID: ids[len(ids)-1], Store: "mem", Services: []string{"api"}, Deadline: time.Minute})
		}
		s.runs("api", "1", "v1", ids...)
		s.start().ready()
		s.start().ready()
		for _, id := range ids {
			s.announce(id, "v2", "v1")
		}
		live(2 * time.Minute)
		s.runs("api", "1", "v2", ids...)
		for _, id := range ids {
			s.becomes(id, "v2", rolling, stalled, converged)
		}
		orders := s.orders()
		live(secret.DefaultGrace)
		for _, id := range ids {
			s.becomes(id, "v2", rolling, stalled, converged, draining)
		}
		s.until("each retirement is ordered once", func() bool { return len(orders()) == len(ids) })
		for _, o := range orders() {
			if want := s.last(o.SecretID).Rollout.RetireAt; !o.Rollout.RetireAt.Equal(want) {
				t.Errorf("%s was ordered for %s, want %s", o.SecretID, o.Rollout.RetireAt, want)
			}
		}
	})
}

func TestARestartedNotifierResumes(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v1", id)
		first := s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling)
		first.stop()
		s.runs("api", "1", "v2", id)
		s.becomes(id, "v2", rolling)

		second := s.start().ready()
		s.becomes(id, "v2", rolling, converged)
		second.stop()
		live(secret.DefaultGrace)
		s.becomes(id, "v2", rolling, converged)

		orders := s.orders()
		s.start().ready()
		s.until("the retirement is ordered", func() bool { return len(orders()) == 1 })
		s.becomes(id, "v2", rolling, converged, draining)
	})
}

func TestADeadInstanceIsNoConsent(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Minute})
		s.ranOnce("1", id)
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling)
		s.until("the lease has ended", func() bool {
			b := p.status().Blockers
			return len(b) == 1 && b[0].Reason == events.BlockSilent
		})
		s.becomes(id, "v2", rolling, stalled)
		live(24 * time.Hour)
		s.becomes(id, "v2", rolling, stalled)
		if timer, err := s.bus.Timer(t.Context(), events.TypeRetire, id); err != nil || timer.Seq != 0 {
			t.Errorf("got %+v, %v, want no timer", timer, err)
		}
	})
}

// TestARecordThatIsNotUnderstoodHoldsTheRolloutUp: of a use that does not decode it
// is known that there is one, and nothing else. It holds up that secret, and no
// others.
func TestARecordThatIsNotUnderstoodHoldsTheRolloutUp(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const unlisted, other = secret.ID("UNLISTED"), secret.ID("OTHER")
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.configure(secret.Spec{ID: unlisted, Store: "mem"})
		s.configure(secret.Spec{ID: other, Store: "mem", Services: []string{"web"}})
		s.start().ready()
		for _, of := range []secret.ID{id, unlisted, other} {
			s.announce(of, "v2", "v1")
		}
		s.runs("api", "torn", "v2", unlisted)
		s.raw("api", "torn", id, `{"service":"api","instance":"torn","secret_id":`)
		s.runs("api", "1", "v2", id, unlisted)
		s.runs("web", "1", "v2", other)
		for _, of := range []secret.ID{other, unlisted} {
			s.becomes(of, "v2", rolling, converged)
		}
		s.becomes(id, "v2", rolling)
		s.use("api", "torn", "v2", func(u *events.Use) { u.Status = "of a later client" }, id)
		s.becomes(id, "v2", rolling)
		s.runs("api", "torn", "v2", id)
		s.becomes(id, "v2", rolling, converged)
		s.raw("api", "torn", id, "no record")
		s.becomes(id, "v2", rolling, converged, rolling)
		if b := s.last(id).Rollout.Blocking; len(b) != 1 || b[0].Instance != "torn" || b[0].Reason != events.BlockNotUnderstood {
			t.Errorf("got %v", b)
		}
		s.runs("api", "torn", "v2", id)
		live(rollout.HoldOff)
		s.becomes(id, "v2", rolling, converged, rolling, converged)
	})
}

func TestALateJoinerWithTheOldVersionHoldsTheRetirementUp(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v2", id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling, converged)
		was := s.last(id).Rollout.RetireAt
		orders := s.orders()
		live(secret.DefaultGrace)
		s.becomes(id, "v2", rolling, converged, draining)
		s.until("the retirement is ordered", func() bool { return len(orders()) == 1 })
		s.runs("api", "late", "v1", id)
		s.becomes(id, "v2", rolling, converged, draining, rolling)
		if b := s.last(id).Rollout.Blocking; len(b) != 1 || b[0].Instance != "late" {
			t.Errorf("got %v", b)
		}
		if timer, err := s.bus.Timer(t.Context(), events.TypeRetire, id); err != nil || !timer.At.IsZero() {
			t.Errorf("the retirement is still asked for at %s, err %v", timer.At, err)
		}
		s.runs("api", "late", "v2", id)
		live(rollout.HoldOff)
		s.becomes(id, "v2", rolling, converged, draining, rolling, converged)
		if now := s.last(id).Rollout.RetireAt; !now.After(was) {
			t.Errorf("the retirement is at %s, was at %s", now, was)
		}
		live(secret.DefaultGrace)
		s.becomes(id, "v2", rolling, converged, draining, rolling, converged, draining)
		s.until("the retirement is ordered again", func() bool { return len(orders()) == 2 })
	})
}

func TestAStalledRolloutIsLoudAndGoesOn(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Minute})
		for instance := range strings.SplitSeq("abcdefghijklmnopqrstuvwxyz", "") {
			s.runs("api", instance, "v1", id)
		}
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		live(2 * time.Minute)
		s.becomes(id, "v2", rolling, stalled)
		if ro := s.last(id).Rollout; len(ro.Blocking) != events.MaxBlocking || ro.BlockingTotal != 26 || ro.Applied != 0 {
			t.Errorf("got %d of %d blocking, %d applied", len(ro.Blocking), ro.BlockingTotal, ro.Applied)
		}
		if !strings.Contains(p.log.String(), "level=ERROR msg=rollout.stalled secret_id=AUDIT version_id=v2 state=stalled reason=deadline_passed") {
			t.Errorf("the log is\n%s", p.log)
		}
		for instance := range strings.SplitSeq("abcdefghijklmnopqrstuvwxyz", "") {
			s.runs("api", instance, "v2", id)
		}
		s.becomes(id, "v2", rolling, stalled, converged)
	})
}

func TestDeadlineAndGraceAreKeptToTheSecond(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: 40 * time.Minute, Grace: 2 * time.Hour})
		s.runs("api", "1", "v1", id)
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling)
		began := p.status().Since

		live(40*time.Minute - 10*time.Second)
		s.becomes(id, "v2", rolling)
		live(10 * time.Second)
		s.becomes(id, "v2", rolling, stalled)
		if late := p.status().Since.Sub(began) - 40*time.Minute; late < 0 || late > time.Second {
			t.Errorf("it stalled %s after its deadline", late)
		}

		s.runs("api", "1", "v2", id)
		s.becomes(id, "v2", rolling, stalled, converged)
		retire := p.status().RetireAt
		if got := retire.Sub(p.status().Since); got != 2*time.Hour {
			t.Errorf("the grace period is %s", got)
		}
		var asked []time.Time
		s.work(func(d events.Delivery) {
			s.mu.Lock()
			defer s.mu.Unlock()
			asked = append(asked, time.Now())
			if d.Event.Data.VersionID != "v2" || d.Event.Data.PreviousVersionID != "v1" {
				t.Errorf("asked for %+v", d.Event.Data)
			}
		})
		live(2*time.Hour + 10*time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		// A schedule fires in whole seconds.
		if len(asked) != 1 || asked[0].Before(retire.Truncate(time.Second)) || asked[0].After(retire.Add(3*time.Second)) {
			t.Errorf("the retirement was asked for at %v, want once at %s", asked, retire)
		}
	})
}

func TestARetiredRolloutIsLetAlone(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Grace: -1})
		s.runs("api", "1", "v2", id)
		p := s.start().ready()
		s.work(func(d events.Delivery) { s.retire(d) })
		s.announce(id, "v2", "v1")
		live(longLease)
		s.becomes(id, "v2", rolling, converged, draining, retired)
		s.runs("api", "late", "v1", id)
		live(time.Hour)
		s.becomes(id, "v2", rolling, converged, draining, retired)
		if st := p.status(); st.State != retired || st.BlockersTotal != 1 {
			t.Errorf("got %+v", st)
		}
	})
}

func TestARetirementThatIsLostIsAskedForAgain(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v2", id)
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling, converged)
		lost := false
		s.work(func(d events.Delivery) {
			if lost {
				s.retire(d)
			}
			lost = true
		})
		live(secret.DefaultGrace)
		s.becomes(id, "v2", rolling, converged, draining)
		live(rollout.RetireReminder - time.Minute)
		s.becomes(id, "v2", rolling, converged, draining)
		live(2 * time.Minute)
		s.becomes(id, "v2", rolling, converged, draining, retired)
		if !strings.Contains(p.log.String(), "level=WARN msg=rollout.retire_overdue") {
			t.Errorf("the log is\n%s", p.log)
		}
	})
}

func TestANewerVersionSupersedes(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v1", id)
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling)
		s.announce(id, "v3", "v2")
		s.becomes(id, "v2", rolling, superseded)
		s.becomes(id, "v3", rolling)
		p.stop()
		s.announce(id, "v4", "v3") // while no notifier runs
		s.start().ready()
		s.becomes(id, "v3", rolling, superseded)
		s.becomes(id, "v4", rolling)
		s.runs("api", "1", "v4", id)
		s.becomes(id, "v4", rolling, converged)
	})
}

func TestAVersionThatComesBackRollsOutAgain(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Grace: -1})
		s.runs("api", "1", "v2", id)
		s.start().ready()
		s.work(func(d events.Delivery) { s.retire(d) })
		s.announce(id, "v2", "v1")
		live(longLease)
		s.becomes(id, "v2", rolling, converged, draining, retired)
		s.announce(id, "v3", "v2")
		s.becomes(id, "v3", rolling)
		s.announce(id, "v2", "v3")
		s.becomes(id, "v3", rolling, superseded)
		live(longLease)
		s.becomes(id, "v2", rolling, converged, draining, retired, rolling, converged, draining, retired)
	})
}

func TestASecretThatIsConfiguredLaterBeginsToRoll(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.runs("api", "1", "v2", id)
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		s.until("it is known", func() bool { return p.status().VersionID == "v2" })
		s.becomes(id, "v2")
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}}) // which has it looked at, at once
		s.becomes(id, "v2", rolling, converged)
	})
}

func TestAStreamOfReportsHoldsNoRolloutUp(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v2", id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		for i := range 500 { // one each 10 ms
			s.runs("web", fmt.Sprint(i%50), secret.VersionID(fmt.Sprint("w", i)), "OTHER", id)
			live(10 * time.Millisecond)
			if i == 250 && len(s.states(id, "v2")) == 0 {
				t.Fatal("nothing was published while reports came in")
			}
		}
	})
}

func TestNotifiersThatDisagreeDoNotFloodTheLog(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v2", id)
		s.start().ready()
		s.start(func(cfg *Config) {
			if err := cfg.Catalog.Replace(catalog.Entry{Spec: secret.Spec{ID: id, Store: "mem", Services: []string{"api", "other"}}, Origin: catalog.Configured}); err != nil {
				t.Error(err)
			}
		}).ready()
		s.announce(id, "v2", "v1")
		live(time.Minute)
		if n := len(s.states(id, "v2")); n > 16 {
			t.Errorf("%d events in a minute", n)
		}
	})
}
