//go:build !race

package notify

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAReportThatIsNotUnderstoodOutlivesItsLease: its client may use any secret, and holds
// each of them until it is understood or forgotten.
func TestAReportThatIsNotUnderstoodOutlivesItsLease(t *testing.T) {
	onSite(t, func(t *testing.T, s *site) {
		spec := secret.Spec{ID: id, Store: "mem", Services: []string{"api"}}
		s.configure(spec)
		s.start().ready()
		report := func(instance string) {
			t.Helper()
			m := &nats.Msg{Subject: s.bus.Names().Report("api", instance), Data: []byte(`{"v9":`)}
			if _, err := s.jetStream().PublishMsg(t.Context(), m, jetstream.WithMsgTTL(lease)); err != nil {
				t.Fatal(err)
			}
		}
		blocking := func() (out []string) {
			t.Helper()
			f, err := s.bus.Fleet(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range (rollout.Question{Spec: spec, VersionID: "v2", Promoted: f.At}).Ask(f).Blocking {
				if b.Instance != "" {
					out = append(out, b.Instance+" "+string(b.Reason))
				}
			}
			return out
		}
		report("old")
		report("gone")
		for _, wait := range []time.Duration{time.Second, 10 * time.Minute, 24 * time.Hour} {
			live(wait)
			if got := blocking(); len(got) != 2 || got[0] != "gone report_not_understood" || got[1] != "old report_not_understood" {
				t.Fatalf("after %s these block: %q", wait, got)
			}
		}
		r := events.Report{Service: "api", Instance: "old", At: time.Now(), Secrets: []events.Running{{SecretID: id, VersionID: "v2", Status: events.StatusApplied, At: time.Now()}}}
		for range 3 {
			if err := s.bus.Report(t.Context(), r, lease); err != nil {
				t.Fatal(err)
			}
			live(time.Second)
		}
		f, err := s.bus.Instance(t.Context(), "api", "gone", "")
		if err != nil || len(f.Users) != 1 {
			t.Fatalf("of the other one is known %+v, %v", f.Users, err)
		}
		if err := s.bus.Forget(t.Context(), "api", "gone", events.OlderIncarnation("gone"), []secret.ID{f.Users[0].Use.SecretID}, f.Seq); err != nil {
			t.Fatal(err)
		}
		if got := blocking(); len(got) != 0 {
			t.Errorf("one is understood and the other forgotten, and these block: %q", got)
		}
	})
}
