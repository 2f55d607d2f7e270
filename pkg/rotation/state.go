package rotation

import (
	"maps"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Step is one thing that a rotation does. Each can be repeated: doing it again
// after a crash finds that it is done.
type Step string

// The steps in their order.
const (
	// StepRead reads what was last announced, then what the store holds. The
	// order matters: an announcement made after the store was read must change
	// the sequence that StepHeal and StepAnnounce compare with.
	StepRead Step = "read"
	// StepHeal announces the current version that nobody ever announced.
	StepHeal Step = "heal"
	// StepCreate writes the pending version under the rotation token.
	StepCreate Step = "create"
	// StepApply makes the target accept the pending value.
	StepApply Step = "apply"
	// StepVerify checks that the pending value works.
	StepVerify Step = "verify"
	// StepStage announces the pending version for verification.
	StepStage Step = "stage"
	// StepAwait waits until every instance holds the staged version.
	StepAwait Step = "await"
	// StepPromote moves the current stage by compare-and-set.
	StepPromote Step = "promote"
	// StepAnnounce publishes secret.rotated, compare-and-set on the log.
	StepAnnounce Step = "announce"
	// StepArm sets the timer of the next rotation.
	StepArm Step = "arm"
	// StepDone is the end; the outcome says which.
	StepDone Step = "done"
)

// Outcome says how a rotation ended that did not fail.
type Outcome string

// The outcomes.
const (
	// OutcomeRotated: this run promoted the new version.
	OutcomeRotated Outcome = "rotated"
	// OutcomeFinished: an earlier run had promoted the version, or the store has
	// had it made; this one did what was left.
	OutcomeFinished Outcome = "finished"
	// OutcomeSuperseded: the event is about a version that is not current any
	// more.
	OutcomeSuperseded Outcome = "superseded"
	// OutcomeNotDue: the version is current and its time has not come.
	OutcomeNotDue Outcome = "not_due"
	// OutcomePart: the part that was asked for is done, and with it not yet the
	// rotation, see [Part].
	OutcomePart Outcome = "part"
	// OutcomeNoPending: there is no pending value of this rotation, and the part
	// that was asked for makes none.
	OutcomeNoPending Outcome = "no_pending"
)

// State is all that a rotation knows. It is a value: [State.Next] decides from
// it alone what to do, and the methods named after an event return the state
// after it. Nothing in here does I/O, so that a simulation can take the same
// path through every interleaving.
type State struct {
	// Spec and Cause are why and how to rotate, Part is how much of it.
	Spec  secret.Spec
	Cause events.Data
	Part  Part

	// Meta and Log are what the last StepRead found; NoLog is whether there was
	// no log to be read, see [ErrNoLog].
	Meta  secret.Metadata
	Log   events.Announcement
	NoLog bool
	// Due is whether the time of a scheduled rotation had come at that moment.
	Due bool

	// Pending is the version of this rotation once StepCreate is done.
	Pending secret.Version

	done map[Step]bool
}

// NewState returns the state of a rotation about which nothing is known yet.
func NewState(spec secret.Spec, cause events.Data) State {
	return State{Spec: spec, Cause: cause, done: map[Step]bool{}}
}

// freshAfter is how many times in a row a target may refuse a pending value
// before it is given up for a fresh one: a value that was stored before a
// crash may be one that the target will never take.
const freshAfter = 2

// maxRejections is how many refusals end in quarantine: three values in a row
// were not taken, so a fourth will not be either.
const maxRejections = (secret.MaxAttempts - 1) * freshAfter

// Token is the name of this rotation: the one that the cause demands, as AWS
// does of a rotation Lambda, else the derived one. A derived token changes only
// with the value: after freshAfter refusals of one value.
func (s State) Token() secret.Token {
	if s.Cause.RotationID != "" {
		return s.Cause.RotationID
	}
	return s.Spec.Token(s.Cause.VersionID, s.Cause.Rejections/freshAfter)
}

// Next returns the step to take, and with StepDone how the rotation ended.
func (s State) Next() (Step, Outcome) {
	cur := s.Meta.Current()
	switch {
	case !s.done[StepRead]:
		return StepRead, ""
	case s.Part.early():
		return s.nextEarly()
	case s.promotedHere():
		return s.afterPromotion(OutcomeRotated)
	case cur.ID != s.Cause.VersionID && s.ours(cur):
		return s.afterPromotion(OutcomeFinished)
	case cur.ID != s.Cause.VersionID:
		return s.superseded(cur)
	case !s.Due:
		return s.first(StepDone, OutcomeNotDue, StepArm)
	case s.Part == PartFinish && !s.hasPending():
		return StepDone, OutcomeNoPending
	case cur.ID != "" && !s.NoLog && s.Log.Event.Data.VersionID != cur.ID && !s.done[StepHeal]:
		return StepHeal, ""
	case s.managed():
		return s.first(StepFollow, "", StepTrigger)
	default:
		return s.beforePromotion()
	}
}

// superseded ends a rotation whose version is not current any more. If nobody
// has announced the one that is, whoever promoted it died, and its next try may
// have been lost to the event that is handled here: one secret has one timer.
func (s State) superseded(cur secret.Version) (Step, Outcome) {
	if cur.ID == "" || s.NoLog || s.Log.Event.Data.VersionID == cur.ID && !s.done[StepHeal] {
		return StepDone, OutcomeSuperseded
	}
	return s.first(StepDone, OutcomeSuperseded, StepHeal, StepArm)
}

func (s State) beforePromotion() (Step, Outcome) {
	steps := []Step{StepCreate, StepApply, StepVerify}
	// A first version has nobody who could load it beforehand: services start
	// once it is there.
	if s.Spec.Rollout == secret.RolloutPrepare && s.Cause.VersionID != "" {
		steps = append(steps, StepStage, StepAwait)
	}
	return s.first(StepPromote, "", steps...)
}

func (s State) afterPromotion(o Outcome) (Step, Outcome) {
	if s.Log.Event.Data.VersionID != s.Meta.Current().ID && !s.done[StepAnnounce] {
		return StepAnnounce, ""
	}
	return s.first(StepDone, o, StepArm)
}

// first returns the first of the steps that is not done, and otherwise the
// given end.
func (s State) first(end Step, o Outcome, steps ...Step) (Step, Outcome) {
	for _, st := range steps {
		if !s.done[st] {
			return st, ""
		}
	}
	return end, o
}

// promotedHere reports whether this run promoted the version that is current.
func (s State) promotedHere() bool { return s.done[StepPromote] }

// ours reports whether v was written by a rotation with this cause, whichever
// worker ran it and however many values it took.
func (s State) ours(v secret.Version) bool {
	return v.Token != "" && v.Token == s.Cause.RotationID || s.Spec.Made(s.Cause.VersionID, v.Token)
}

// Reusable returns the pending version that an earlier run of this rotation
// wrote, and false when there is none.
func (s State) Reusable() (secret.Version, bool) {
	p, ok := s.Meta.At(secret.StagePending)
	return p, ok && !p.Empty && p.Token == s.Token()
}

// Abandoned returns the pending version that stands in the way and may be
// replaced: one of an earlier value of this rotation, or one of somebody else
// after patience tries.
func (s State) Abandoned(patience int) secret.VersionID {
	p, ok := s.Meta.At(secret.StagePending)
	if !ok || p.Token == s.Token() && !p.Empty {
		return ""
	}
	if s.ours(p) || s.Cause.Attempt >= patience {
		return p.ID
	}
	return ""
}

// Did returns the state after a step that needs no other note.
func (s State) Did(step Step) State {
	done := make(map[Step]bool, len(s.done)+1)
	maps.Copy(done, s.done)
	done[step] = true
	s.done = done
	return s
}

// WasRead returns the state after StepRead. What was done before the read is
// forgotten: the store is the truth.
func (s State) WasRead(m secret.Metadata, log events.Announcement, due bool) State {
	s.Meta, s.Log, s.Due, s.NoLog = m, log, due, false
	s.Pending, s.done = secret.Version{}, nil
	return s.Did(StepRead)
}

// WasCreated returns the state after StepCreate.
func (s State) WasCreated(v secret.Version) State {
	s.Pending = v
	return s.Did(StepCreate)
}

// WasPromoted returns the state after StepPromote, with the stages moved as the
// store moved them, so that the new version need not be read back.
func (s State) WasPromoted() State {
	from := s.Meta.Current().ID
	versions := make([]secret.Version, 0, len(s.Meta.Versions)+1)
	for _, v := range s.Meta.Versions {
		switch {
		case v.ID == s.Pending.ID:
			continue
		case v.ID == from:
			v.Stage = secret.StagePrevious
		case v.Stage == secret.StagePrevious:
			v.Stage = secret.StageRetired
		}
		versions = append(versions, v)
	}
	cur := s.Pending
	cur.Stage = secret.StageCurrent
	versions = append(versions, cur)
	s.Meta.Versions = versions
	return s.Did(StepPromote)
}

// WithoutLog returns the state after a StepRead that found no log to read.
func (s State) WithoutLog() State {
	s.NoLog = true
	return s
}

// Lost returns the state of a run that lost a race and has to read again.
func (s State) Lost() State {
	s.done = nil
	return s
}
