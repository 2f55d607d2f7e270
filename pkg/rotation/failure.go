package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// maxUnknown is how often a request for a secret that is not configured here is
// tried: workers may get a new configuration later than a scheduler.
const maxUnknown = 5

var (
	// errQuarantined: the target or the policy refused every value. Rotating by
	// hand starts over.
	errQuarantined = errors.New("quarantined after repeated refusals; mend the target or the policy, then rotate by hand")
	// errLostRace: one run has read maxReads times and was wrong each time. It
	// says nothing about the value, and a later try may succeed.
	errLostRace = errors.New("what was read is not what there is")
	// errOutdated: the store has answered with less than the run knows.
	errOutdated = errors.New("the store shows the past")
	// errSpent: the version of this rotation has left the pending stage, and no other
	// token is left.
	errSpent = fmt.Errorf("%w: its version is not pending any more", target.ErrRejected)
	// errWithdrawnToken: the token of this rotation names a version that another
	// writer took the pending stage from.
	errWithdrawnToken = errors.New("the token names a version that was withdrawn")
	// errWithdrawn ends a request for a value that a person supplied: it is not
	// pending, and no other value may take its place.
	errWithdrawn = errors.New("the supplied value is not pending any more")
	// errRefused ends a request whose supplied value was refused.
	errRefused = errors.New("the supplied value was refused, and no other may take its place")
	// errGone ends a request for a secret that no worker has configured.
	errGone = errors.New("not configured on any worker that was asked")
)

// stepError says at which step a rotation failed.
type stepError struct {
	step string
	err  error
}

func (e stepError) Error() string { return "rotation: " + e.step + ": " + e.err.Error() }
func (e stepError) Unwrap() error { return e.err }

// failure describes err for an event. Of err it takes the step and the code only:
// its text may quote a server, and goes to the log.
func failure(err error) *events.Failure {
	c := code(err)
	f := &events.Failure{Code: c, Message: message(c)}
	if s, ok := errors.AsType[stepError](err); ok {
		f.Step = s.step
	}
	return f
}

// codes maps errors to their codes; the first that matches counts.
var codes = []struct {
	err  error
	code events.FailureCode
}{
	{errQuarantined, events.CodeQuarantined},
	{errStuck, events.CodeStuck},
	{errRunning, events.CodeRunning},
	{errTooSoon, events.CodeTooSoon},
	{target.ErrRejected, events.CodeRejected},
	{ErrAwaiting, events.CodeAwaiting},
	{errSuspendedUse, events.CodeSuspendedUse},
	{errDrainOverdue, events.CodeDrainOverdue},
	{errBlocked, events.CodeBlocked},
	{secret.ErrShape, events.CodeShape},
	{secret.ErrInvalidPolicy, events.CodeInvalidPolicy},
	{catalog.ErrUnknownSecret, events.CodeUnknownSecret},
	{catalog.ErrInvalidTags, events.CodeInvalidTags},
	{errWithdrawn, events.CodeWithdrawn},
	{events.ErrConflict, events.CodeConflict},
}

// code returns the code of err. An error of a store has the store's own name.
func code(err error) events.FailureCode {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return events.FailureCode(store.Reason(err))
}

// permanent reports whether no later try can succeed until an operator acts.
func permanent(err error) bool {
	return errors.Is(err, errQuarantined) || errors.Is(err, errStuck) || errors.Is(err, secret.ErrInvalidPolicy) || errors.Is(err, errGone) ||
		errors.Is(err, errWithdrawn) || errors.Is(err, errRefused) ||
		missing(err) || store.Permanent(err)
}

// missing reports whether err says that the secret does not exist. Only the read
// step can tell: what a later step does not find was there a moment ago.
func missing(err error) bool {
	s, ok := errors.AsType[stepError](err)
	return ok && s.step == stepRead && errors.Is(err, store.ErrNotFound) && !errors.Is(err, errLostRace)
}

// final marks the refusal of a value that a person supplied.
func (q Request) final(err error) error {
	if q.Reason == events.ReasonSupplied && errors.Is(err, target.ErrRejected) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

// escalate makes an error permanent once the retry budget is spent: refusals end
// in quarantine, and an unknown secret in errGone.
func escalate(r events.Retry, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, errRefused):
		return err
	case errors.Is(err, target.ErrRejected) && r.Rejections+1 >= maxRejections:
		return errors.Join(errQuarantined, err)
	case errors.Is(err, catalog.ErrUnknownSecret) && r.Attempt >= maxUnknown:
		return errors.Join(errGone, err)
	default:
		return err
	}
}
