//go:build !race

package notify

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// deaf is no bus.
type deaf struct{ Bus }

// gated is a bus on which the records are not read to their end before open is
// closed.
type gated struct {
	Bus
	open chan struct{}
}

func (b gated) WatchFleet(ctx context.Context, fn func(events.FleetEvent) error) error {
	return b.Bus.WatchFleet(ctx, func(e events.FleetEvent) error {
		if e.Synced {
			<-b.open
		}
		return fn(e)
	})
}

var errFault = errors.New("injected")

// flaky is a bus on which the first publications, timers and notifications of
// a service named shaky fail.
type flaky struct {
	Bus
	publish, arm, notify *atomic.Int32 // how many are still to fail
	stored               bool          // what failed was done all the same
}

func (b flaky) PublishAfter(ctx context.Context, e events.Event, after uint64) (uint64, error) {
	if b.publish.Add(-1) < 0 {
		return b.Bus.PublishAfter(ctx, e, after)
	}
	if b.stored {
		if _, err := b.Bus.PublishAfter(ctx, e, after); err != nil {
			return 0, err
		}
	}
	return 0, errFault
}

func (b flaky) Arm(ctx context.Context, e events.Event, at time.Time) (bool, error) {
	if b.arm.Add(-1) < 0 {
		return b.Bus.Arm(ctx, e, at)
	}
	return false, errFault
}

func (b flaky) Notify(ctx context.Context, service string, e events.Event, seq uint64) error {
	if service == "shaky" && b.notify.Add(-1) >= 0 {
		return errFault
	}
	return b.Bus.Notify(ctx, service, e, seq)
}

// failing returns a bus on which the first n tries of everything fail.
func failing(n int32, stored bool) func(Bus) Bus {
	counter := func() *atomic.Int32 {
		c := &atomic.Int32{}
		c.Store(n)
		return c
	}
	return func(b Bus) Bus {
		return flaky{Bus: b, publish: counter(), arm: counter(), notify: counter(), stored: stored}
	}
}

// panicking is a bus that panics when the rollout of one secret is published.
type panicking struct {
	Bus
	id secret.ID
}

func (b panicking) PublishAfter(ctx context.Context, e events.Event, after uint64) (uint64, error) {
	if e.Data.SecretID == b.id {
		panic("on purpose")
	}
	return b.Bus.PublishAfter(ctx, e, after)
}

// TestAPanicHoldsUpOneRolloutOnly: it is loud, is tried again, and ends nothing
// else.
func TestAPanicHoldsUpOneRolloutOnly(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		const bad = secret.ID("BAD")
		for _, id := range []secret.ID{bad, id} {
			s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		}
		s.runs("api", "1", "v2", bad, id)
		p := s.start(wrap(func(b Bus) Bus { return panicking{b, bad} })).ready()
		s.announce(bad, "v2", "v1")
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling, converged)
		if log := p.log.String(); !strings.Contains(log, "level=ERROR msg=panic") || !strings.Contains(log, "rollout.retry") || strings.Contains(log, "on purpose") {
			t.Errorf("the log is\n%s", log)
		}
		if got := s.states(bad, "v2"); len(got) > 0 {
			t.Errorf("the rollout that panics was published as %v", got)
		}
	})
}

// slow is a bus that takes its time to arm a timer.
type slow struct {
	Bus
	began chan struct{}
}

func (b slow) Arm(ctx context.Context, e events.Event, at time.Time) (bool, error) {
	close(b.began)
	live(3 * time.Second)
	return b.Bus.Arm(ctx, e, at)
}

// TestAnInstanceThatWasForgottenIsNoStall: another process purged its records, which
// nothing announces.
func TestAnInstanceThatWasForgottenIsNoStall(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: 10 * time.Minute})
		s.ranOnce("ghost", id)
		s.runs("api", "lives", "v2", id)
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		live(6 * time.Minute)
		s.forget("api", "ghost", id)
		live(3 * time.Minute)
		s.becomes(id, "v2", rolling)
		if b := p.status().Blockers; len(b) != 1 || b[0].Instance != "ghost" {
			t.Fatalf("got %v: the test proves nothing", b)
		}
		live(time.Minute)
		s.becomes(id, "v2", rolling, converged)
	})
}

// TestAForgottenInstanceHoldsNothingAnyLonger: the record that a person had it forgotten
// is heard of.
func TestAForgottenInstanceHoldsNothingAnyLonger(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Hour})
		s.ranOnce("ghost", id)
		s.runs("api", "lives", "v2", id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		live(time.Minute)
		f := events.Forgotten{Service: "api", Instance: "ghost", Incarnation: "ighost", By: "alice", Reason: "its host is gone", At: time.Now()}
		for _, f.Done = range []bool{false, true} {
			if f.Done {
				s.becomes(id, "v2", rolling)
				s.forget("api", "ghost", id)
			}
			if err := s.bus.RecordForgotten(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			live(10 * time.Second)
		}
		s.becomes(id, "v2", rolling, converged)
	})
}

// TestAStalledRolloutFindsWhatWasForgotten: it reads the records again.
func TestAStalledRolloutFindsWhatWasForgotten(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Minute})
		s.ranOnce("ghost", id)
		s.runs("api", "lives", "v2", id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		live(90 * time.Second)
		s.becomes(id, "v2", rolling, stalled)
		s.forget("api", "ghost", id)
		live(2 * freshFor)
		s.becomes(id, "v2", rolling, stalled, converged)
	})
}

func TestNothingIsDoneBeforeTheRecordsAreRead(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: time.Minute})
		s.announce(id, "v2", "v1")
		s.runs("api", "1", "v2", id)
		open := make(chan struct{})
		p := s.start(wrap(func(b Bus) Bus { return gated{b, open} }))
		live(time.Hour)
		if p.Ready() || s.told("api") != "" {
			t.Error("it did not wait")
		}
		s.becomes(id, "v2")
		close(open)
		p.ready()
		s.becomes(id, "v2", rolling, converged)
	})
}

func TestWhatNobodyTrustedPublishedIsPublishedOver(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v2", id)
		forger, err := events.GenerateSigner()
		if err != nil {
			t.Fatal(err)
		}
		evil := s.srv.Bus(forger, forger)
		forged := rollout.Rollout{SecretID: id, VersionID: "v2", PreviousVersionID: "v1", State: retired, Since: time.Now()}
		if _, err := evil.PublishAfter(t.Context(), forged.Event("/evil", rollout.Facts{}), 0); err != nil {
			t.Fatal(err)
		}
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling, converged)
	})
}

func TestAMoveThatFailsIsTriedAgain(t *testing.T) {
	for name, stored := range map[string]bool{
		"when it was not done":                     false,
		"when it was done and the answer was lost": true,
	} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
				s.runs("api", "1", "v2", id)
				p := s.start(wrap(failing(3, stored))).ready()
				s.announce(id, "v2", "v1")
				s.becomes(id, "v2", rolling, converged)
				orders := s.orders()
				live(secret.DefaultGrace)
				s.becomes(id, "v2", rolling, converged, draining)
				s.until("the retirement is ordered", func() bool { return len(orders()) == 1 })
				if !strings.Contains(p.log.String(), "level=WARN msg=rollout.retry rollouts=1") {
					t.Errorf("the log is\n%s", p.log)
				}
			})
		})
	}
}

func TestALostLogIsPublishedAnew(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v2", id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.becomes(id, "v2", rolling, converged)
		s.dropLog()
		s.announce(id, "v2", "v1") // as a sweep does
		s.until("it has converged again", func() bool {
			a, err := s.bus.Last(t.Context(), events.TypeRollout, id)
			return err == nil && a.Seq != 0 && a.Event.Data.Rollout.State == converged
		})
		// A watch that is finding its stream again can only be stopped between
		// two tries, and in a bubble the time to the next one would not pass.
		live(time.Minute)
	})
}

func TestWhatWasBegunIsFinished(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v2", id)
		began := make(chan struct{})
		p := s.start(wrap(func(b Bus) Bus { return slow{b, began} })).ready()
		s.announce(id, "v2", "v1")
		live(secret.DefaultGrace)
		<-began
		p.stop()
		if timer, err := s.bus.Timer(t.Context(), events.TypeRetire, id); err != nil || timer.Seq == 0 {
			t.Errorf("got %+v, %v, want a timer", timer, err)
		}
	})
}
