package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// phases maps the steps of AWS to the phases of a rotation.
var phases = map[Step]rotation.Phase{
	StepCreate: rotation.PhaseCreate,
	StepSet:    rotation.PhaseSet,
	StepTest:   rotation.PhaseTest,
	StepFinish: rotation.PhaseFinish,
}

// The reasons for which a step is refused before anything is done.
var (
	// ErrNotEnabled: AWS does not rotate the secret.
	ErrNotEnabled = errors.New("rotation is not enabled for the secret")
	// ErrOtherFunction: AWS rotates the secret by another function.
	ErrOtherFunction = errors.New("another function rotates the secret: its RotationLambdaARN is not that of this one")
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
	done, err := f.run(awssm.WithRotationToken(ctx, string(r.RotationToken.Reveal())), r)
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

func (f *Function) run(ctx context.Context, r Rotation) (stepDone, error) {
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
	if state.Enabled && !sameFunction(invoked(ctx), state.Function) { // guard says the rest
		return done, ErrOtherFunction
	}
	try, err := guard(r, t.spec, state)
	if err != nil {
		return done, err
	}
	rot, err := f.rotator(t)
	if err != nil {
		return done, err
	}
	if done.Outcome, err = persist(ctx, rot, try); err != nil {
		return done, err
	}
	return done, meaning(r.Step, done.Outcome)
}

// guard checks a step against the state of the rotation in AWS, as AWS requires
// of every rotation function, and returns what is to be done. If the version is
// current already, that is to finish: its announcement may be missing.
func guard(r Rotation, spec secret.Spec, state awssm.Rotation) (rotation.Try, error) {
	try := rotation.Try{Phase: phases[r.Step], Request: rotation.Request{
		Secret: spec.ID, Store: spec.Store, From: state.Current().ID, Reason: events.ReasonLambda, Token: r.Token,
	}}
	v, known := state.Version(secret.VersionID(r.Token))
	switch {
	case !state.Enabled:
		return try, ErrNotEnabled
	case !known:
		return try, ErrUnknownToken
	case v.Stage == secret.StageCurrent:
		previous, _ := state.At(secret.StagePrevious)
		try.From, try.Phase = previous.ID, rotation.PhaseFinish
		return try, nil
	case v.Stage != secret.StagePending:
		return try, fmt.Errorf("%w, it is %s", ErrNotPending, v.Stage)
	default:
		return try, nil
	}
}

// invoked returns the ARN under which this function was invoked, "" where the runtime
// does not say.
func invoked(ctx context.Context) string {
	lc, _ := lambdacontext.FromContext(ctx)
	if lc == nil {
		return ""
	}
	return lc.InvokedFunctionArn
}

// sameFunction reports whether rotates is the ARN of the function own, whichever
// version or alias each of them names. It is true where own is unknown.
func sameFunction(own, rotates string) bool {
	return own == "" || unqualified(own) == unqualified(rotates)
}

// unqualified returns the ARN of a function without a version or an alias.
func unqualified(arn string) string {
	const parts = 7 // arn:aws:lambda:REGION:ACCOUNT:function:NAME
	fields := strings.Split(arn, ":")
	return strings.Join(fields[:min(parts, len(fields))], ":")
}

// persist makes a try, and repeats it while the rotation waits for its instances,
// as long as the invocation lasts.
func persist(ctx context.Context, rot *rotation.Rotator, try rotation.Try) (rotation.Outcome, error) {
	for {
		out, err := rot.Rotate(ctx, try)
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
	case rotation.OutcomePhase, rotation.OutcomeRotated, rotation.OutcomeFinished:
		return nil
	case rotation.OutcomeNoPending:
		if step == StepTest {
			return nil
		}
		return ErrNoPending
	case rotation.OutcomeSuperseded:
		return ErrSuperseded
	case rotation.OutcomeNotDue, rotation.OutcomePaused:
	}
	return fmt.Errorf("the rotation ended as %s", out)
}
