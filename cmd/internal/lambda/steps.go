package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// parts says which part of a rotation a step is.
var parts = map[Step]rotation.Part{
	StepCreate: rotation.PartCreate,
	StepSet:    rotation.PartApply,
	StepTest:   rotation.PartVerify,
	StepFinish: rotation.PartFinish,
}

// The reasons for which a step is refused before anything is done.
var (
	// ErrNotEnabled: AWS does not rotate the secret.
	ErrNotEnabled = errors.New("rotation is not enabled for the secret")
	// ErrUnknownToken: no version of the secret carries the token.
	ErrUnknownToken = errors.New("no version of the secret has this ClientRequestToken")
	// ErrNotPending: the version is not the one that is being made.
	ErrNotPending = errors.New("the version is not AWSPENDING")
	// ErrNoPending: an earlier step has not been done.
	ErrNoPending = errors.New("the pending version has no value yet: createSecret has not been done")
	// ErrSuperseded: another version became current meanwhile.
	ErrSuperseded = errors.New("another version became current meanwhile")
)

// stepDone is the answer to a step.
type stepDone struct {
	Step    Step             `json:"step"`
	Secret  secret.ID        `json:"secret_id"`
	Version secret.VersionID `json:"version_id"`
	Outcome rotation.Outcome `json:"outcome"`
}

// step does a step of a rotation that AWS drives.
func (f *Function) step(ctx context.Context, r Rotation) (any, error) {
	begin := time.Now()
	done, err := f.part(awssm.WithRotationToken(ctx, string(r.RotationToken.Reveal())), r)
	attrs := []slog.Attr{slog.String("step", string(r.Step)), slog.String("secret", r.SecretID), slog.String("secret_id", string(done.Secret)),
		slog.String("version_id", string(r.Token)), slog.Duration("took", time.Since(begin))}
	if err != nil {
		err = fmt.Errorf("%s %s: %w", r.Step, r.SecretID, err)
		f.log.LogAttrs(ctx, slog.LevelError, "lambda.step_failed", append(attrs, slog.String("error", err.Error()))...)
		return nil, err
	}
	f.log.LogAttrs(ctx, slog.LevelInfo, "lambda.step", append(attrs, slog.String("outcome", string(done.Outcome)))...)
	return done, nil
}

func (f *Function) part(ctx context.Context, r Rotation) (stepDone, error) {
	done := stepDone{Step: r.Step, Version: secret.VersionID(r.Token)}
	t, err := f.secrets.locate(ctx, r.SecretID)
	if err != nil {
		return done, err
	}
	state, err := t.acct.driver.Rotation(ctx, t.spec.StorePath())
	if err != nil {
		return done, err
	}
	if t.spec, err = t.tagged(state.Metadata); err != nil {
		return done, err
	}
	done.Secret = t.spec.ID
	cause, part, err := guard(r, t.spec, state)
	if err != nil {
		return done, err
	}
	rot, err := f.rotator(t)
	if err != nil {
		return done, err
	}
	if done.Outcome, err = persist(ctx, rot, cause, part); err != nil {
		return done, err
	}
	return done, meaning(r.Step, done.Outcome)
}

// guard holds a step against what AWS says of the rotation, as AWS asks of
// every rotation function, and returns what is to be done. A version that is
// current already is success: what may be missing is its announcement.
func guard(r Rotation, spec secret.Spec, state awssm.Rotation) (events.Data, rotation.Part, error) {
	cause := events.Data{SecretID: spec.ID, Store: spec.Store, VersionID: state.Current().ID, Reason: events.ReasonLambda, RotationID: r.Token}
	v, known := state.Version(secret.VersionID(r.Token))
	switch {
	case !state.Enabled:
		return cause, "", ErrNotEnabled
	case !known:
		return cause, "", ErrUnknownToken
	case v.Stage == secret.StageCurrent:
		previous, _ := state.At(secret.StagePrevious)
		cause.VersionID = previous.ID
		return cause, rotation.PartFinish, nil
	case v.Stage != secret.StagePending:
		return cause, "", fmt.Errorf("%w, it is %s", ErrNotPending, v.Stage)
	default:
		return cause, parts[r.Step], nil
	}
}

// persist takes a part, and waits where the rotation has to wait for its
// instances, as long as the invocation lasts.
func persist(ctx context.Context, rot *rotation.Rotator, cause events.Data, part rotation.Part) (rotation.Outcome, error) {
	for {
		out, err := rot.RotatePart(ctx, cause, part)
		if !errors.Is(err, rotation.ErrAwaiting) {
			return out, err
		}
		delay, _ := events.RetryDelay(err)
		if end, ok := ctx.Deadline(); ok && time.Until(end) < delay {
			return out, err
		}
		select {
		case <-ctx.Done():
			return out, err
		case <-time.After(delay):
		}
	}
}

// meaning returns what an outcome means to AWS. AWS tries a configuration out by
// testSecret alone; a version without a value is then nothing to object to.
func meaning(step Step, out rotation.Outcome) error {
	switch out {
	case rotation.OutcomePart, rotation.OutcomeRotated, rotation.OutcomeFinished:
		return nil
	case rotation.OutcomeNoPending:
		if step == StepTest {
			return nil
		}
		return ErrNoPending
	case rotation.OutcomeSuperseded:
		return ErrSuperseded
	case rotation.OutcomeNotDue:
	}
	return fmt.Errorf("the rotation ended as %s", out)
}
