package rollout

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrReplay is wrapped by the error for a receipt that contradicts itself: what it
// records does not allow the retirement, or does not lead to what it says.
var ErrReplay = errors.New("the receipt contradicts itself")

// Replay decides again what a receipt says was decided, from the records in it, and
// returns nil if that allows the retirement and leads to everything else that the
// receipt says.
func Replay(r events.Receipt) error {
	if r.Basis == events.BasisForced {
		return replayForced(r)
	}
	p, err := proofOf(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReplay, err)
	}
	v := p.Question.MayRetire(p.Order, p.Logged, p.Fleet)
	if !v.Allowed() {
		return fmt.Errorf("%w: its records do not allow the retirement: %s", ErrReplay, cmp.Or(v.Because, "it was done before"))
	}
	if err := p.agrees(r); err != nil {
		return fmt.Errorf("%w: %w", ErrReplay, err)
	}
	return nil
}

// replayForced checks a receipt that rests on a person and claims no proof.
func replayForced(r events.Receipt) error {
	switch {
	case r.Forced == nil || r.Forced.By == "" || r.Forced.Reason == "":
		return fmt.Errorf("%w: it does not say who forced it, and why", ErrReplay)
	case len(r.Retired) == 0 || slices.Contains(r.Retired, r.VersionID) || slices.Contains(r.Retired, ""):
		return fmt.Errorf("%w: it does not say which older versions were retired", ErrReplay)
	default:
		return nil
	}
}

// proofOf returns the proof that a receipt records.
func proofOf(r events.Receipt) (Proof, error) {
	fence, err := secret.ParseDuration(r.Rules.Fence)
	if err == nil && fence <= 0 {
		err = errors.New("the fence is not positive")
	}
	grace, gerr := secret.ParseDuration(r.Rules.Grace)
	if grace == 0 {
		grace = -1 // none
	}
	if err := errors.Join(err, gerr); err != nil {
		return Proof{}, err
	}
	q := Question{
		Spec:      secret.Spec{ID: r.SecretID, Store: r.Store, Services: r.Rules.Services, Proof: r.Rules.Proof, Fence: fence, Grace: grace},
		VersionID: r.VersionID, Pending: r.Pending, Unstaged: true, Promoted: r.PromotedAt,
		Confirmed: r.Confirmed, Foreign: r.Foreign,
	}
	d := events.Data{
		SecretID: r.SecretID, Store: r.Store, VersionID: r.VersionID, Reason: r.Cause, RotationID: r.RotationID,
		Rollout: &events.Rollout{State: r.State, StartedAt: r.StartedAt, ConvergedAt: r.ConvergedAt, RetireAt: r.RetireAt},
	}
	order := d
	if r.Basis != events.BasisEmergency {
		order.Reason = ""
	}
	f := events.Fleet{
		SecretID: r.SecretID, Seq: r.Barrier.Seq, At: r.Barrier.At, Since: r.Barrier.Since, Confirmed: r.Barrier.Confirmed, ConfirmedBy: r.Barrier.ConfirmedBy,
	}
	for _, u := range r.Users {
		f.Users = append(f.Users, userOf(r.SecretID, u))
	}
	return Proof{Question: q, Order: order, Logged: d, Fleet: f, Retired: r.Retired}, nil
}

// userOf is the inverse of [Question.receiptUser].
func userOf(id secret.ID, u events.ReceiptUser) events.User {
	return events.User{
		Use: events.Use{
			Running: events.Running{SecretID: id, VersionID: u.VersionID, Status: u.Status, Wanted: u.Wanted, At: u.AppliedAt},
			Service: u.Service, Instance: u.Instance, Incarnation: u.Incarnation,
			Accepts: u.Accepts, PastFence: u.PastFence, Fence: u.Fence, Joined: u.Joined,
		},
		Presence: events.Presence{
			Service: u.Service, Instance: u.Instance, Incarnation: u.Incarnation, Fleet: u.Fleet, StartedAt: u.StartedAt, Lease: u.Lease, Ended: u.Ended,
		},
		UsedAt: u.UsedAt, RenewedAt: u.RenewedAt, Problem: u.Problem,
	}
}

// agrees compares a receipt with the one that follows from its records. What rests on
// users that it only counts cannot be compared.
func (p Proof) agrees(r events.Receipt) error {
	again := p.Receipt(r.Worker, r.DecidedAt)
	switch {
	case len(r.Retired) == 0 || slices.Contains(r.Retired, r.VersionID) || slices.Contains(r.Retired, ""):
		return errors.New("it does not say which older versions were retired")
	case r.Forced != nil:
		return errors.New("it names a person who forced it, and another basis")
	case len(r.Compromised) > 0 && r.Basis != events.BasisEmergency || slices.ContainsFunc(r.Compromised, func(v secret.VersionID) bool { return !slices.Contains(r.Retired, v) }):
		return errors.New("it names versions as compromised that no emergency retired")
	case r.Basis != events.BasisEmergency && slices.ContainsFunc(r.Target, func(s events.TargetSample) bool { return s.Sessions > 0 }):
		return errors.New("the target saw sessions of a version that was retired")
	case r.Soak != nil && (r.Soak.Skipped == "") == r.Soak.SuspendedAt.IsZero() || r.Soak != nil && r.Soak.SuspendedAt.After(r.DecidedAt):
		return errors.New("it does not say since when the versions were suspended, or why they were not")
	case again.Basis != r.Basis:
		return fmt.Errorf("its basis is %s, its records give %s", r.Basis, again.Basis)
	case !slices.Equal(again.Doubts, r.Doubts):
		return errors.New("its doubts are not what its records give")
	case !slices.EqualFunc(again.Users, r.Users, sameUser):
		return errors.New("the state of a user is not what its records say, or the users are out of order")
	case r.Omitted != nil:
		return p.agreesInPart(again, r)
	case !again.Rules.Floor.Equal(r.Rules.Floor) || again.Rules.Lease != r.Rules.Lease:
		return errors.New("the floor or the lease is not what its records give")
	case again.Applied != r.Applied || !maps.Equal(again.Instances, r.Instances):
		return errors.New("it counts other instances than it lists")
	case len(again.Breaks) != len(r.Breaks):
		return errors.New("it names other instances that may break than it lists")
	case again.Timer.Broken != r.Timer.Broken || again.Timer.After != r.Timer.After || !slices.Equal(again.Timer.Instances, r.Timer.Instances):
		return errors.New("what it says of a timer is not what its records give")
	}
	return nil
}

// agreesInPart is agrees for a receipt that counts users besides those that it lists.
func (p Proof) agreesInPart(again, r events.Receipt) error {
	all := maps.Clone(again.Instances)
	for state, n := range r.Omitted.Instances {
		all[state] += n
	}
	switch {
	case !maps.Equal(all, r.Instances):
		return errors.New("it counts other instances than it lists and omits")
	case again.Rules.Floor.After(r.Rules.Floor), again.Applied > r.Applied, again.Timer.Broken > r.Timer.Broken:
		return errors.New("the users that it lists give more than it says of all")
	case r.Barrier.At.Before(r.Rules.Floor) && r.Basis != events.BasisEmergency:
		return errors.New("it was decided before the floor")
	}
	return nil
}

func sameUser(a, b events.ReceiptUser) bool {
	return a.Service == b.Service && a.Instance == b.Instance && a.Incarnation == b.Incarnation && a.State == b.State && a.FenceEnd.Equal(b.FenceEnd)
}
