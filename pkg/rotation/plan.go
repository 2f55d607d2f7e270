package rotation

import (
	"context"
	"errors"
	"slices"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// step is one step of a rotation.
type step struct {
	// name is the step's name in spans, metrics and failures.
	name string
	// do takes the step. It can be repeated: after a crash it finds what it has
	// done. It may replace the rest of the plan by reading.
	do func(*run, context.Context) error
	// retryOn are the errors that say that the last read was wrong or is
	// outdated. The run then reads again and makes a new plan.
	retryOn []error
}

// The names of steps that are used in more than one place.
const (
	stepRead     = "read"
	stepCreate   = "create"
	stepApply    = "apply"
	stepVerify   = "verify"
	stepPromote  = "promote"
	stepAwait    = "await"
	stepAnnounce = "announce"
)

// plan is the rest of a run: the steps, and how it ends after them.
type plan struct {
	steps   []step
	outcome Outcome
}

var (
	// outdated are the errors of a read that was answered with the past.
	outdated = []error{errOutdated, store.ErrNotFound}
	// changed are the errors of a step that met another writer, or a store that
	// does not show what this run wrote.
	changed = []error{store.ErrConflict, store.ErrNotFound}
	// announced are the errors of an announcement that came second.
	announced = []error{events.ErrConflict}
)

// firstPlan is that of a run which knows nothing yet: read, and plan again.
func firstPlan() plan {
	return plan{steps: []step{{stepRead, (*run).read, []error{errOutdated}}}}
}

// plan decides what is left to do, after a read.
func (s state) plan() plan {
	cur := s.meta.Current()
	switch {
	case s.remade():
		return s.planSuperseded()
	case s.try.Phase.early():
		return s.planEarly(cur)
	case cur.ID != s.try.From && s.made(cur):
		return s.planFinish()
	case cur.ID != s.try.From:
		return s.planSuperseded()
	case !s.due:
		return plan{[]step{armStep()}, OutcomeNotDue}
	case (s.paused || !s.thaws.IsZero()) && !s.hasPending():
		return plan{[]step{{"rest", (*run).rest, outdated}}, OutcomePaused}
	case s.tooSoon() > 0:
		return plan{[]step{{stepRead, (*run).postpone, nil}}, OutcomeNotDue}
	case s.try.Phase == PhaseFinish && !s.hasPending():
		return plan{nil, OutcomeNoPending}
	}
	var steps []step
	if s.unannounced() {
		steps = append(steps, healStep())
	}
	if s.external() {
		return plan{append(steps, externalSteps()...), OutcomeFinished}
	}
	return plan{append(steps, generateSteps(s)...), OutcomeRotated}
}

// planEarly takes the one step of an early phase.
func (s state) planEarly(cur secret.Version) plan {
	switch {
	case cur.ID != s.try.From && s.made(cur):
		return plan{nil, OutcomeFinished}
	case cur.ID != s.try.From:
		return plan{nil, OutcomeSuperseded}
	case s.try.Phase != PhaseCreate && !s.hasPending():
		return plan{nil, OutcomeNoPending}
	}
	other := func(st step) bool { return st.name != phaseSteps[s.try.Phase] }
	return plan{slices.DeleteFunc(generateSteps(s), other), OutcomePhase}
}

// planFinish does what is left of a rotation whose version is current.
func (s state) planFinish() plan {
	if !rollout.Unannounced(s.meta, s.log.Event.Data) {
		return plan{[]step{armStep()}, OutcomeFinished}
	}
	return plan{[]step{announceStep(), armStep()}, OutcomeFinished}
}

// planSuperseded ends a rotation whose version is not current. If the log lacks
// the current version, the process that promoted it died. Its next try may have
// been lost to this request, because a secret has one timer; so this run
// announces and arms in its place.
func (s state) planSuperseded() plan {
	if !s.unannounced() {
		return plan{nil, OutcomeSuperseded}
	}
	return plan{[]step{healStep(), armStep()}, OutcomeSuperseded}
}

// generateSteps is the plan of [secret.StrategyGenerate].
func generateSteps(s state) []step {
	steps := []step{
		{stepCreate, (*run).create, []error{store.ErrConflict, store.ErrNotFound, store.ErrTokenReused}},
		{stepApply, (*run).apply, changed},
		{stepVerify, (*run).verify, changed},
	}
	// No service can load a first version beforehand: services start once there
	// is one.
	// An emergency does not wait until they have.
	if s.spec.Rollout == secret.RolloutPrepare && s.try.From != "" && s.try.Reason != events.ReasonEmergency {
		steps = append(steps, step{"stage", (*run).stage, outdated}, step{stepAwait, (*run).await, outdated})
	}
	return append(steps, step{stepPromote, (*run).promote, changed}, announceStep(), armStep())
}

// externalSteps is the plan of [secret.StrategyExternal]. follow succeeds only
// after a read that shows another current version, which replaces the plan.
func externalSteps() []step {
	return []step{{"trigger", (*run).trigger, outdated}, {"follow", (*run).follow, outdated}}
}

// healStep announces a current version that is missing in the log.
func healStep() step { return step{"heal", (*run).announceMissing, announced} }

// announceStep announces the version of this rotation.
func announceStep() step { return step{stepAnnounce, (*run).announceNew, announced} }

// armStep sets the timer of the next rotation.
func armStep() step { return step{"arm", (*run).arm, outdated} }

// retries reports whether err is one of retryOn.
func (s step) retries(err error) bool {
	return slices.ContainsFunc(s.retryOn, func(e error) bool { return errors.Is(err, e) })
}
