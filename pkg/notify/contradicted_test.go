//go:build !race

package notify

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// contradicting follows the contradictions in the log, and returns how to read them.
func (s *site) contradicting() func() []events.Data {
	var seen []events.Data
	ctx := s.t.Context()
	go func() {
		err := s.connect().WatchLog(ctx, []events.Type{events.TypeProofContradicted}, func(_ context.Context, a events.Announcement) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			seen = append(seen, a.Event.Data)
			return nil
		}, nil)
		if err != nil {
			s.t.Error(err)
		}
	}()
	return func() []events.Data {
		s.pass(5 * time.Second) // let one too many come
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(seen)
	}
}

// writes stores the records of an instance of api that runs v2, the use first.
func (s *site) writes(instance string, started time.Time, change func(*events.Use)) {
	s.t.Helper()
	u := events.Use{
		Running: events.Running{SecretID: id, VersionID: "v2", Status: events.StatusApplied, At: time.Now()},
		Service: "api", Instance: instance, Incarnation: instance, Accepts: []secret.VersionID{}, PastFence: events.PastFenceServe, Joined: true,
	}
	change(&u)
	if err := s.bus.WriteUse(s.t.Context(), u); err != nil {
		s.t.Fatal(err)
	}
	s.pass(3 * time.Second)
	p := events.Presence{Service: "api", Instance: instance, Incarnation: instance, StartedAt: started, At: time.Now(), Lease: 3600}
	if _, err := s.bus.Join(s.t.Context(), p); err != nil {
		s.t.Fatal(err)
	}
}

// TestAUseOfARetiredVersionIsLoud: an event names who used it where, each increase is
// told once, by whichever notifier, and again by none that starts later.
func TestAUseOfARetiredVersionIsLoud(t *testing.T) { //nolint:paralleltest // see onSite
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		one := s.start().ready()
		two := s.start().ready()
		told := s.contradicting()
		s.announce(id, "v2", "v1")
		used := func(n int64, client string) func(*events.Use) {
			return func(u *events.Use) {
				u.RetiredUses = []events.RetiredUse{{VersionID: "v1", Client: client, Uses: n, Last: time.Now()}}
			}
		}
		s.writes("1", time.Now(), func(*events.Use) {})
		s.writes("1", time.Now(), used(2, "192.0.2.7"))
		s.writes("1", time.Now(), used(2, "192.0.2.7")) // a renewal says the same
		s.writes("1", time.Now(), used(5, "192.0.2.7"))
		s.writes("2", time.Now(), used(1, "192.0.2.7"))
		all := told()
		if len(all) != 3 {
			t.Fatalf("%d events, want 3: %+v", len(all), all)
		}
		for i, want := range []events.Contradiction{{Instance: "1", Uses: 2}, {Instance: "1", Uses: 5}, {Instance: "2", Uses: 1}} {
			d, c := all[i], all[i].Contradiction
			if d.SecretID != id || d.VersionID != "v2" || d.PreviousVersionID != "v1" || c.Kind != events.ContradictionRetiredUsed || c.Service != "api" || c.Client != "192.0.2.7" || c.Instance != want.Instance || c.Uses != want.Uses || c.Last.IsZero() {
				t.Errorf("event %d is %+v with %+v", i, d, c)
			}
		}
		one.stop()
		two.stop()
		s.pass(time.Hour) // the server has forgotten the IDs
		s.start().ready()
		if again := told(); len(again) != 3 {
			t.Errorf("after a restart there are %d events, want 3", len(again))
		}
		s.writes("3", time.Now(), used(1, "192.0.2.8"))
		if again := told(); len(again) != 4 {
			t.Errorf("after another use there are %d events, want 4", len(again))
		}
	})
}

// TestUsesAtOneTimeAreAllTold: a use that another instance reports later is told also if
// it happened earlier.
func TestUsesAtOneTimeAreAllTold(t *testing.T) { //nolint:paralleltest // see onSite
	onSite(t, func(t *testing.T, s *site) {
		s.start().ready()
		told := s.contradicting()
		at := time.Now()
		for n, instance := range []string{"1", "2", "3"} {
			s.writes(instance, at, func(u *events.Use) {
				u.RetiredUses = []events.RetiredUse{{VersionID: "v1", Client: events.ClientUnknown, Uses: 1, Last: at.Add(-time.Duration(n) * time.Second)}}
			})
		}
		if all := told(); len(all) != 3 {
			t.Errorf("%d events, want 3: %+v", len(all), all)
		}
	})
}

// TestAnInstanceThatJoinsLateContradictsAProof, if a version was retired between its
// start and its first record, and its users serve on.
func TestAnInstanceThatJoinsLateContradictsAProof(t *testing.T) { //nolint:paralleltest // see onSite
	for name, tt := range map[string]struct {
		started time.Duration // before the retirement
		change  func(*events.Use)
		want    bool
	}{
		"it started before":               {time.Minute, func(u *events.Use) { u.Joined = false }, true},
		"it started afterwards":           {-time.Second, func(u *events.Use) { u.Joined = false }, false},
		"it was on record before it read": {time.Minute, func(*events.Use) {}, false},
		"it refuses past its fence":       {time.Minute, func(u *events.Use) { u.Joined, u.PastFence = false, events.PastFenceRefuse }, false},
		"it has read nothing yet":         {time.Minute, func(u *events.Use) { u.Joined, u.VersionID, u.Status = false, "", "" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(t *testing.T, s *site) {
				s.start().ready()
				told := s.contradicting()
				retired := time.Now()
				r := events.Receipt{SecretID: id, VersionID: "v2", Retired: []secret.VersionID{"v1"}, StartedAt: retired, Barrier: events.ReceiptBarrier{Seq: 1, At: retired}}
				if err := s.bus.RecordRetirement(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				s.pass(10 * time.Second)
				s.writes("1", retired.Add(-tt.started), tt.change)
				all := told()
				if len(all) > 0 != tt.want {
					t.Fatalf("%d events: %+v", len(all), all)
				}
				if !tt.want {
					return
				}
				d, c := all[0], all[0].Contradiction
				if len(all) != 1 || d.PreviousVersionID != "v1" || c.Kind != events.ContradictionJoinedLate || c.Instance != "1" || !c.StartedAt.Equal(retired.Add(-tt.started)) || !c.JoinedAt.After(retired) {
					t.Errorf("%d events, the first is %+v with %+v", len(all), d, c)
				}
			})
		})
	}
}
