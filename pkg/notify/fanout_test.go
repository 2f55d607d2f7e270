//go:build !race

package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestEveryServiceIsToldOnce(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api", "billing"}})
		s.runs("api", "1", "v1", id)
		s.runs("unlisted", "1", "v1", id)
		s.runs("stranger", "1", "v1", "OTHER")
		p := s.start().ready()
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.until("all are told", func() bool {
			return s.told("api") == "v2" && s.told("billing") == "v2"
		})
		a, err := s.bus.Last(t.Context(), events.TypeRotated, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.fanOut(t.Context(), events.Delivery{Event: a.Event, Seq: a.Seq, Attempt: 2}); err != nil {
			t.Fatal(err)
		}
		live(time.Minute)
		if n := s.notifications(); n != 2 {
			t.Errorf("%d notifications were published, want 2", n)
		}
	})
}

func TestServicesThatReportAnUnconfiguredSecretAreTold(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.runs("guest", "1", "v1", id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.until("it is told", func() bool { return s.told("guest") == "v2" })
		s.becomes(id, "v2")
	})
}

func TestAStagedVersionIsAnnouncedToo(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.start().ready()
		now := time.Now()
		e := events.Event{ID: "staged", Type: events.TypeStaged, Source: "/test", Time: now, Data: events.Data{SecretID: id, VersionID: "v2", OccurredAt: now}}
		if err := s.bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		s.until("it is told", func() bool { return s.told("api") == "v2" })
		s.becomes(id, "v2") // a staged version does not roll out
	})
}

func TestAServiceThatCannotBeToldIsToldLaterAndHoldsNobodyUp(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api", "shaky"}})
		p := s.start(wrap(failing(2, false))).ready()
		s.announce(id, "v2", "v1")
		s.until("the others are told", func() bool { return s.told("api") == "v2" })
		if got := s.told("shaky"); got != "" {
			t.Fatalf("it was told of %s: the test proves nothing", got)
		}
		s.until("it is told", func() bool { return s.told("shaky") == "v2" })
		if !strings.Contains(p.log.String(), "level=WARN msg=notify.retry") {
			t.Errorf("the log is\n%s", p.log)
		}
	})
}

// TestANameThatNoSubjectHoldsIsGivenUpLoudly: no configuration, no log and no report
// brings such a name here, and if one does the other services are told.
func TestANameThatNoSubjectHoldsIsGivenUpLoudly(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.configure(secret.Spec{ID: id, Store: "mem"})
		s.runs("api", "1", "v1", id)
		p := s.start().ready()
		if err := p.tracker.recorded(events.FleetEvent{At: time.Now(), Use: &events.Use{Running: events.Running{SecretID: id, VersionID: "v1"}, Service: "a name", Instance: "1", Incarnation: "1"}}); err != nil {
			t.Fatal(err)
		}
		s.announce(id, "v2", "v1")
		s.until("the others are told", func() bool { return s.told("api") == "v2" })
		live(time.Hour)
		if n := strings.Count(p.log.String(), "level=ERROR msg=notify.failed"); n != 1 {
			t.Errorf("it was said %d times, want once:\n%s", n, p.log)
		}
	})
}

func TestAServiceThatBeginsToReportTooLateIsTold(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem"})
		s.runs("api", "1", "v1", id)
		s.start().ready()
		s.announce(id, "v2", "v1")
		s.until("the fan-out is over", func() bool { return s.told("api") == "v2" })
		s.runs("guest", "1", "v1", id)
		s.until("it is told", func() bool { return s.told("guest") == "v2" })
	})
}

// TestAnUnlistedServiceHearsNothing: where subscribers are configured, a service that
// reports the secret of others is not told what they use. It blocks, by name.
func TestAnUnlistedServiceHearsNothing(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}})
		s.runs("api", "1", "v2", id)
		s.runs("nosy", "1", "v1", id)
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		live(time.Hour)
		if got := s.told("nosy"); got != "" {
			t.Errorf("it was told of %s", got)
		}
		if b := p.status().Blockers; len(b) != 1 || b[0].Service != "nosy" || b[0].Reason != events.BlockUnlisted {
			t.Errorf("got %v", b)
		}
	})
}

func TestJoinedErrorsArePermanentOnlyTogether(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		errs      []error
		permanent bool
	}{
		"one that passes is tried again":      {[]error{nil, errFault}, false},
		"one that does not is given up":       {[]error{nil, events.Permanent(errFault)}, true},
		"both are tried again for one's sake": {[]error{events.Permanent(errFault), errFault}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := join(tt.errs); err == nil || events.IsPermanent(err) != tt.permanent {
				t.Errorf("got %v, permanent %t", err, events.IsPermanent(err))
			}
		})
	}
	if err := join([]error{nil, nil}); err != nil {
		t.Errorf("got %v for no errors", err)
	}
}

// notifications returns how many notifications were ever published.
func (s *site) notifications() uint64 {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), s.bus.Names().NotifyStream())
	if err != nil {
		s.t.Fatal(err)
	}
	return st.CachedInfo().State.LastSeq
}

// dropLog loses the log and makes an empty one.
func (s *site) dropLog() {
	s.t.Helper()
	if err := s.js.DeleteStream(s.t.Context(), s.bus.Names().RotatedStream()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.bus.EnsureStreams(s.t.Context(), events.StreamOptions{Memory: true}); err != nil {
		s.t.Fatal(err)
	}
}
