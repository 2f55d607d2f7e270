package rotation

import (
	"context"
	"errors"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Part is how much of a rotation one run takes. Somebody who drives a rotation
// from outside, as AWS Secrets Manager drives its Lambdas, asks for one part
// after the other, each perhaps of another process, and repeats them at will.
// A cause that is taken in parts has a RotationID.
type Part string

// The parts. The first three take one step each; they read no log and announce
// nothing.
const (
	// PartWhole is all of it.
	PartWhole Part = ""
	// PartCreate writes the pending version.
	PartCreate Part = "create"
	// PartApply makes the target accept the pending value.
	PartApply Part = "apply"
	// PartVerify checks that the pending value works, and changes nothing
	// anywhere.
	PartVerify Part = "verify"
	// PartFinish is the whole, except that it makes no pending version: nobody
	// can know whether the parts before were asked for, so it applies and
	// verifies again before it promotes.
	PartFinish Part = "finish"
)

// ErrNoLog is returned by a [Bus] whose log cannot be read for now. A rotation
// goes on without: it announces what it promotes and heals nothing.
var ErrNoLog = errors.New("the log of announcements cannot be read")

// step returns the one step of an early part.
func (p Part) step() Step {
	switch p {
	case PartCreate:
		return StepCreate
	case PartApply:
		return StepApply
	case PartVerify:
		return StepVerify
	case PartWhole, PartFinish:
	}
	return ""
}

// early reports whether the part ends before the promotion.
func (p Part) early() bool { return p.step() != "" }

// nextEarly is [State.Next] for an early part.
func (s State) nextEarly() (Step, Outcome) {
	cur := s.Meta.Current()
	switch {
	case cur.ID != s.Cause.VersionID && s.ours(cur):
		return StepDone, OutcomeFinished
	case cur.ID != s.Cause.VersionID:
		return StepDone, OutcomeSuperseded
	case s.Part != PartCreate && !s.hasPending():
		return StepDone, OutcomeNoPending
	default:
		return s.first(StepDone, OutcomePart, s.Part.step())
	}
}

// hasPending reports whether there is a pending value of this rotation.
func (s State) hasPending() bool {
	_, ok := s.Reusable()
	return ok
}

// takePending makes the pending version that an earlier part wrote the one that
// the run works on.
func (x *Run) takePending() {
	if p, ok := x.state.Reusable(); ok && x.state.Part != PartCreate && x.state.Part.early() {
		x.state.Pending = p
	}
}

// trial reports whether a pending value that breaks the policy is the current
// one: AWS has a configuration tried out against a copy of the current version,
// which is not about to become current and proves nothing about the next value.
func (x *Run) trial(ctx context.Context, pending secret.Value) (bool, error) {
	if x.state.Part != PartVerify {
		return false, nil
	}
	_, cur, err := x.store.Get(ctx, x.state.Spec.StorePath(), store.Selector{})
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNoValue) {
		return false, nil
	}
	return err == nil && cur.Equal(pending), err
}
