//go:build !race

package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestARetirementThatIsNeverCarriedOutCountsAsStalled: its worker can not. The rollout stays
// draining in the log, so that a worker goes on once it can.
func TestARetirementThatIsNeverCarriedOutCountsAsStalled(t *testing.T) {
	const deadline, grace = 10 * time.Minute, 20 * time.Minute
	onSite(t, func(t *testing.T, s *site) {
		s.configure(secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Deadline: deadline, Grace: grace})
		s.runs("api", "1", "v2", id)
		fails := true
		s.work(func(d events.Delivery) {
			if !fails {
				s.retire(d)
			}
		})
		p := s.start().ready()
		s.announce(id, "v2", "v1")
		live(grace + deadline + grace + rollout.RetireReminder - time.Minute)
		if st := p.status(); st.State != draining || strings.Contains(p.log.String(), "level=ERROR") {
			t.Errorf("before it is overdue it is %s; the log is\n%s", st.State, p.log)
		}
		live(rollout.RetireReminder + 2*time.Minute)
		if st := p.status(); st.State != stalled || !strings.Contains(p.log.String(), "level=ERROR msg=rollout.retire_overdue") {
			t.Errorf("it is %s; the log is\n%s", st.State, p.log)
		}
		fails = false
		live(rollout.RetireReminder)
		s.becomes(id, "v2", rolling, converged, draining, retired)
		if st := p.status(); st.State != retired {
			t.Errorf("after it was carried out it is %s", st.State)
		}
		p.stop()
	})
}
