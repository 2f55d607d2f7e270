package rollout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// TimerGrace is after which time a timer would have retired, for comparison: the
	// overlap of services that have no proof.
	TimerGrace = time.Hour
	// maxUsers bounds the users that a receipt lists, in bytes.
	maxUsers = 500 << 10
	// maxNamed bounds the instances that a receipt names as broken by a timer.
	maxNamed = 20
)

// Proof is an order to retire that [Question.MayRetire] allowed, with all that the
// decision rests on.
type Proof struct {
	Question Question
	// Order and Logged are those of MayRetire, and Fleet is the fleet.
	Order, Logged events.Data
	Fleet         events.Fleet
	// Retired are the versions that are retired.
	Retired []secret.VersionID
	// Target is what the target saw of them.
	Target []events.TargetSample
	// Soak is how they were suspended before, nil for a secret without a target.
	Soak *events.ReceiptSoak
}

// Receipt returns the receipt of a proof, decided at now by the clock of the worker.
// It is as large as an event store takes: users for which there is no room are
// counted.
func (p Proof) Receipt(worker string, now time.Time) events.Receipt {
	q := p.Question
	q.Emergency = IsEmergency(p.Order, p.Logged)
	s := q.Ask(p.Fleet)
	r := events.Receipt{
		SecretID: q.Spec.ID, Store: q.Spec.Store, VersionID: q.VersionID, Retired: p.Retired, Pending: q.Pending,
		Cause: p.Logged.Reason, RotationID: cmp.Or(p.Logged.RotationID, p.Order.RotationID), Basis: p.basis(q.Emergency), PromotedAt: q.Promoted,
		DecidedAt: now, Worker: worker, Rules: q.rules(s),
		Barrier: events.ReceiptBarrier{
			Seq: p.Fleet.Seq, At: p.Fleet.At, Since: p.Fleet.Since, Confirmed: p.Fleet.Confirmed, ConfirmedBy: p.Fleet.ConfirmedBy,
		},
		Confirmed: q.confirmed(), Foreign: q.Foreign, Doubts: s.Doubts, Target: p.Target, Soak: p.Soak,
		Applied: s.Applied, Instances: counts(s.Instances), Breaks: Listed(s.Breaks),
		Timer: timerOf(p.Fleet.Users, q.VersionID, q.Promoted, q.Spec.FencePeriod(), TimerGrace),
	}
	if ro := p.Logged.Rollout; ro != nil {
		r.StartedAt, r.ConvergedAt, r.RetireAt, r.State = ro.StartedAt, ro.ConvergedAt, ro.RetireAt, ro.State
	}
	if q.Emergency && p.Logged.PreviousVersionID != "" {
		r.Compromised = []secret.VersionID{p.Logged.PreviousVersionID}
	}
	r.Users, r.Omitted = q.receiptUsers(p.Fleet)
	return r
}

// basis says how the proof came about.
func (p Proof) basis(emergency bool) events.Basis {
	switch {
	case emergency:
		return events.BasisEmergency
	case p.Fleet.ConfirmedBy != "" || len(p.Question.confirmed()) > 0:
		return events.BasisConfirmed
	default:
		return events.BasisProof
	}
}

// confirmed returns the confirmations that the version has.
func (q Question) confirmed() map[string]events.Confirmed {
	out := maps.Clone(q.Confirmed)
	maps.DeleteFunc(out, func(_ string, c events.Confirmed) bool { return c.VersionID != q.VersionID })
	return out
}

// rules returns the settings that were in force.
func (q Question) rules(s Standing) events.ReceiptRules {
	return events.ReceiptRules{
		Services: q.Spec.Services, Proof: q.Spec.Proof, Fence: secret.FormatDuration(q.Spec.FencePeriod()), Grace: secret.FormatDuration(q.Spec.GracePeriod()),
		Lease: secret.FormatDuration(s.Lease), Floor: s.Floor,
	}
}

func counts(states map[InstanceState]int) map[string]int {
	out := make(map[string]int, len(states))
	for s, n := range states {
		out[string(s)] = n
	}
	return out
}

// receiptUsers returns the users of a receipt, and counts those for which there is no
// room. Users that decide come first: one live instance of each service and fleet, then the
// silent, the live and the ended ones.
func (q Question) receiptUsers(f events.Fleet) (listed []events.ReceiptUser, rest *events.ReceiptOmitted) {
	all := make([]events.ReceiptUser, 0, len(f.Users))
	for _, u := range f.Users {
		all = append(all, q.receiptUser(u, f.At))
	}
	slices.SortFunc(all, func(a, b events.ReceiptUser) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	rank := map[string]int{string(InstanceSilent): 1, string(InstanceLive): 2, string(InstanceEnded): 3}
	first := map[[2]string]int{} // service and fleet → the first live user
	for i, u := range all {
		if _, ok := first[[2]string{u.Service, u.Fleet}]; !ok && u.State == string(InstanceLive) {
			first[[2]string{u.Service, u.Fleet}] = i
		}
	}
	ranks := make([]int, len(all))
	order := make([]int, len(all))
	for i, u := range all {
		order[i], ranks[i] = i, rank[u.State]
		if at, ok := first[[2]string{u.Service, u.Fleet}]; ok && at == i {
			ranks[i] = 0
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ranks[a], ranks[b]) })
	return fitting(all, order)
}

// fitting lists users in the given order for as long as there is room.
func fitting(all []events.ReceiptUser, order []int) (listed []events.ReceiptUser, rest *events.ReceiptOmitted) {
	room, hash := maxUsers, sha256.New()
	for _, i := range order {
		text, err := json.Marshal(all[i])
		if room -= len(text) + 1; err == nil && room >= 0 {
			listed = append(listed, all[i])
			continue
		}
		room = min(room, 0)
		if rest == nil {
			rest = &events.ReceiptOmitted{Instances: map[string]int{}}
		}
		rest.Instances[all[i].State]++
		_, _ = hash.Write(append(text, '\n'))
	}
	if rest != nil {
		rest.SHA256 = hex.EncodeToString(hash.Sum(nil))
	}
	return listed, rest
}

func (q Question) receiptUser(u events.User, now time.Time) events.ReceiptUser {
	u = q.understood(u)
	out := events.ReceiptUser{
		Service: u.Use.Service, Instance: u.Use.Instance, Incarnation: u.Use.Incarnation, VersionID: u.Use.VersionID, Status: u.Use.Status,
		Wanted: u.Use.Wanted, Accepts: u.Use.Accepts, PastFence: u.Use.PastFence, Fence: u.Use.Fence, Fleet: u.Presence.Fleet, Lease: u.Presence.Lease, Joined: u.Use.Joined,
		Ended: u.Ended(), State: string(StateOf(u, now)), StartedAt: u.Presence.StartedAt, AppliedAt: u.Use.At, UsedAt: u.UsedAt, RenewedAt: u.RenewedAt, Problem: u.Problem,
	}
	if end, ok := FenceEnd(u, q.Promoted, q.Spec.FencePeriod()); ok {
		out.FenceEnd = end
	}
	return out
}

// timerOf says what a timer would have done.
func timerOf(users []events.User, v secret.VersionID, promoted time.Time, fence, after time.Duration) events.ReceiptTimer {
	broken := TimerBreaks(users, v, promoted, fence, after)
	return events.ReceiptTimer{After: secret.FormatDuration(after), Broken: len(broken), Instances: broken[:min(len(broken), maxNamed)]}
}

// TimerBreaks returns the instances that would have used a version before v that was
// retired a fixed time after the promotion of v, as service/instance, in order. fence
// is the one that is configured.
//
// An instance is among them if it ran before that time and took v into use later, or
// ended or passed its fence later without having taken it. Nothing is known of
// instances whose records were purged, so there may have been more.
func TimerBreaks(users []events.User, v secret.VersionID, promoted time.Time, fence, after time.Duration) []string {
	deadline := promoted.Add(after)
	var out []string
	for _, u := range users {
		if started := u.Presence.StartedAt; !started.IsZero() && !started.Before(deadline) {
			continue
		}
		if usedOlderUntil(u, v, promoted, fence).After(deadline) {
			out = append(out, u.Use.Service+"/"+cmp.Or(u.Use.Instance, u.Use.Incarnation))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// usedOlderUntil returns until when a user may have used a version before v, zero if
// that is not known.
func usedOlderUntil(u events.User, v secret.VersionID, promoted time.Time, fence time.Duration) time.Time {
	if u.Problem == "" && u.Use.VersionID == v {
		if !u.UsedAt.IsZero() && u.Use.At.After(u.UsedAt) {
			return u.UsedAt // its clock is ahead
		}
		return u.Use.At
	}
	if u.Use.Ended {
		return u.UsedAt
	}
	if u.Ended() || u.Use.VersionID == "" {
		return u.RenewedAt
	}
	if end, ok := FenceEnd(u, promoted, fence); ok {
		return end
	}
	return later(u.RenewedAt, u.UsedAt)
}
