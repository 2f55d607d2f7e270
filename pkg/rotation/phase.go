package rotation

// Phase limits a run to one part of a rotation that is driven from outside, as
// AWS Secrets Manager drives its Lambdas. Phases may run in different processes,
// and each may be repeated. A [Try] with a phase other than PhaseWhole has a
// Token.
type Phase string

// The phases. The first three after PhaseWhole take one step each; they read no
// log and announce nothing.
const (
	// PhaseWhole is the whole rotation.
	PhaseWhole Phase = ""
	// PhaseCreate writes the pending version.
	PhaseCreate Phase = "create"
	// PhaseSet applies the pending value at the target.
	PhaseSet Phase = "set"
	// PhaseTest verifies the pending value and changes nothing.
	PhaseTest Phase = "test"
	// PhaseFinish is the whole rotation, except that it makes no pending version.
	// It applies and verifies again before it promotes, because it cannot know
	// whether the earlier phases were run.
	PhaseFinish Phase = "finish"
)

// phaseSteps names the one step of each early phase.
var phaseSteps = map[Phase]string{
	PhaseCreate: stepCreate,
	PhaseSet:    stepApply,
	PhaseTest:   stepVerify,
}

// early reports whether the phase ends before the promotion.
func (p Phase) early() bool { return phaseSteps[p] != "" }
