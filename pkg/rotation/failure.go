package rotation

import (
	"context"
	"errors"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// maxUnknown is how often an event about a secret that is not configured here
// is tried again: workers may get a new configuration later than a scheduler.
const maxUnknown = 5

// ErrQuarantined means that the target refused every value it was offered. Rotating by
// hand starts over.
var ErrQuarantined = errors.New("quarantined after repeated refusals; mend the target or the policy, then rotate by hand")

// stepError says at which step a rotation failed.
type stepError struct {
	step Step
	err  error
}

func (e stepError) Error() string { return "rotation: " + string(e.step) + ": " + e.err.Error() }
func (e stepError) Unwrap() error { return e.err }

// maxMessage bounds what an event says about a failure, in bytes: an error may
// quote a whole page of a proxy, and an event that is too large is never heard
// of.
const maxMessage = 1 << 10

// failure describes err for an event.
func failure(err error) *events.Failure {
	f := &events.Failure{Code: code(err), Message: events.Clip(err.Error(), maxMessage)}
	if s, ok := errors.AsType[stepError](err); ok {
		f.Step = string(s.step)
	}
	return f
}

var codes = []struct {
	err  error
	code events.FailureCode
}{
	{ErrQuarantined, events.CodeQuarantined},
	{ErrStuck, events.CodeStuck},
	{ErrRunning, events.CodeRunning},
	{ErrRejected, events.CodeRejected},
	{ErrAwaiting, events.CodeAwaiting},
	{ErrBlocked, events.CodeBlocked},
	{secret.ErrInvalidPolicy, events.CodeInvalidPolicy},
	{catalog.ErrUnknownSecret, events.CodeUnknownSecret},
	{catalog.ErrInvalidTags, events.CodeInvalidTags},
	{events.ErrConflict, events.CodeConflict},
}

// code returns a constant name for err, fit for a metric.
func code(err error) events.FailureCode {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return events.FailureCode(store.Reason(err))
}

// permanent reports whether no later try can succeed unless a person acts.
func permanent(err error) bool {
	return errors.Is(err, ErrQuarantined) || errors.Is(err, ErrStuck) || errors.Is(err, secret.ErrInvalidPolicy) || errors.Is(err, errGone) ||
		missing(err) || store.Permanent(err)
}

// missing reports whether err says that there is no such secret. Only the step
// that reads it can tell: what a later step does not find was there a moment ago.
func missing(err error) bool {
	s, ok := errors.AsType[stepError](err)
	return ok && s.step == StepRead && errors.Is(err, store.ErrNotFound) && !errors.Is(err, errLostRace)
}

// errLostRace means that one run has read maxReads times and was wrong each time.
// It says nothing about the value, and a later try may succeed.
var errLostRace = errors.New("what was read is not what there is")

// errOutdated means that the store has answered with less than the run knows.
var errOutdated = errors.New("the store shows the past")

// errGone is the end of an event about a secret that nobody configures.
var errGone = errors.New("not configured on any worker that was asked")

// judge adds to err what the history of the cause says about it: enough
// refusals are a quarantine, enough tries without a configuration the end.
func judge(cause events.Data, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, ErrRejected) && cause.Rejections+1 >= maxRejections:
		return errors.Join(ErrQuarantined, err)
	case errors.Is(err, catalog.ErrUnknownSecret) && cause.Attempt >= maxUnknown:
		return errors.Join(errGone, err)
	default:
		return err
	}
}
