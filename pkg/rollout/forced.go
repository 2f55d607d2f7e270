package rollout

import (
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Forced returns the receipt of a version that a person has retired without proof at
// now. breaks are the users of what is retired, by the same records.
func (q Question) Forced(f events.Fleet, v secret.VersionID, who events.Forced, program string, now time.Time) (r events.Receipt, breaks []events.Blocker) {
	s := q.Ask(f)
	breaks = append(append([]events.Blocker(nil), s.Blocking...), s.Accepting...)
	r = events.Receipt{
		SecretID: q.Spec.ID, Store: q.Spec.Store, VersionID: q.VersionID, Retired: []secret.VersionID{v}, Pending: q.Pending,
		Basis: events.BasisForced, Forced: &who, PromotedAt: q.Promoted, StartedAt: now, RetireAt: now, DecidedAt: now, Worker: program, Rules: q.rules(s),
		Barrier:   events.ReceiptBarrier{Seq: f.Seq, At: f.At, Since: f.Since, Confirmed: f.Confirmed, ConfirmedBy: f.ConfirmedBy},
		Confirmed: q.confirmed(), Applied: s.Applied, Instances: counts(s.Instances), Breaks: Listed(breaks),
		Timer: timerOf(f.Users, q.VersionID, q.Promoted, q.Spec.FencePeriod(), TimerGrace),
	}
	r.Users, r.Omitted = q.receiptUsers(f)
	return r, breaks
}
