package rotation

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// create writes the pending version under the rotation token, unless an earlier
// run has. A token whose version was withdrawn is left for the next one: a rotation
// that only counted it as a refusal would run out of tokens, for as long as the
// current version stays.
func (x *run) create(ctx context.Context) error {
	for {
		if p, ok := x.state.reusable(); ok {
			x.state.pending = p
			return nil
		}
		if x.state.try.Reason == events.ReasonSupplied {
			return errWithdrawn
		}
		err := x.write(ctx)
		if !errors.Is(err, errWithdrawnToken) {
			return err
		}
		next, ok := x.state.skip()
		if !ok {
			return errSpent
		}
		x.state = next
	}
}

// write makes a value and stores it as the pending version.
func (x *run) write(ctx context.Context) error {
	value, err := x.propose(ctx)
	if err != nil {
		return err
	}
	spec := x.state.spec
	w := store.Write{
		Token:   x.state.token(),
		From:    x.state.try.From,
		Value:   value,
		Replace: x.state.abandoned(x.r.cfg.TakeoverAttempts),
		Create:  spec.Create,
		// By the store's clock: this worker's may be wrong.
		Lifetime: spec.Lifetime(x.state.meta),
	}
	v, err := x.store.Put(ctx, spec.StorePath(), w)
	if errors.Is(err, store.ErrTokenReused) {
		err = x.reused(ctx, err)
	}
	if err != nil {
		return err
	}
	x.wrote, x.made.token, x.made.value = true, w.Token, value
	x.state.pending = v
	return nil
}

// reused says why the store has refused the token of this rotation: it names a version
// that was withdrawn, or one that has become current since the run has read. The
// version has to be seen: an answer that shows no pending version may be outdated, but
// no version ever becomes pending again.
func (x *run) reused(ctx context.Context, refusal error) error {
	stage, ok := x.stageOf(ctx, x.state.token())
	switch {
	case !ok || stage == secret.StagePending:
		return refusal
	case stage == secret.StageRetired:
		return errWithdrawnToken
	default:
		return errSpent
	}
}

// stageOf returns the stage of the version that a token of this rotation names.
func (x *run) stageOf(ctx context.Context, token secret.Token) (secret.Stage, bool) {
	for _, v := range x.state.meta.Versions {
		if v.Token == token {
			return v.Stage, true
		}
	}
	// AWS does not list a version that lost its last label.
	v, _, err := x.store.Get(ctx, x.state.spec.StorePath(), store.Selector{Version: secret.VersionID(token)})
	return v.Stage, err == nil
}

// propose returns the value for the token of this rotation: a fresh one, unless
// this run has made it before.
func (x *run) propose(ctx context.Context) (secret.Value, error) {
	if x.made.token == x.state.token() {
		return x.made.value, nil
	}
	ctx, cancel := context.WithTimeout(ctx, x.r.cfg.TargetTimeout)
	defer cancel()
	t, err := x.r.targetFor(ctx, x.state.spec)
	if err != nil {
		return secret.Value{}, err
	}
	if err := errors.Join(x.checkRoom(ctx, t), x.keepShape(ctx)); err != nil {
		return secret.Value{}, err
	}
	v, err := t.Propose(ctx, x.change())
	return x.saw(v), err
}

// change describes the rotation to a target.
func (x *run) change() target.Change {
	return target.Change{
		Spec: x.state.spec, From: x.state.try.From, To: x.state.pending.ID,
		Current: x.currentValue, Pending: x.pendingValue,
	}
}

// currentValue reads the value of the version that is to be replaced. It reads by
// version, so that another version that became current meanwhile is not mixed
// into the new value.
func (x *run) currentValue(ctx context.Context) (secret.Value, error) {
	_, v, err := x.store.Get(ctx, x.state.spec.StorePath(), store.Selector{Version: x.state.try.From})
	return x.saw(v), err
}

// pendingValue returns the pending value. It is read back when an earlier run
// wrote it.
func (x *run) pendingValue(ctx context.Context) (secret.Value, error) {
	p := x.state.pending
	if p.ID == "" {
		return secret.Value{}, errors.New("there is no pending version yet")
	}
	if x.made.token == p.Token {
		return x.made.value, nil
	}
	_, v, err := x.store.Get(ctx, x.state.spec.StorePath(), store.Selector{Version: p.ID})
	if err == nil {
		x.made.token, x.made.value = p.Token, v
	}
	return x.saw(v), err
}

// apply makes the pending value valid at the target. The current value stays
// valid, as far as the target has room for two.
func (x *run) apply(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, x.r.cfg.TargetTimeout)
	defer cancel()
	t, err := x.r.targetFor(ctx, x.state.spec)
	if err != nil {
		return err
	}
	if err := x.checkRoom(ctx, t); err != nil {
		return err
	}
	ref, err := t.Apply(ctx, x.change())
	if err == nil && ref.Name != "" {
		trace.SpanFromContext(ctx).SetAttributes(attribute.String("target.credential", ref.Name))
	}
	return err
}

// verify checks that the pending value satisfies the policy and works at the
// target.
func (x *run) verify(ctx context.Context) error {
	t, err := x.r.targetFor(ctx, x.state.spec)
	if err != nil {
		return err
	}
	if err := errors.Join(x.checkPolicy(ctx), x.keepShape(ctx)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, x.r.cfg.TargetTimeout+t.Capabilities().Lag)
	defer cancel()
	return t.Verify(ctx, x.change())
}

// checkPolicy returns an error that wraps target.ErrRejected if the pending value
// breaks the policy. It may: an earlier policy, or another program, made it.
func (x *run) checkPolicy(ctx context.Context) error {
	v, err := x.pendingValue(ctx)
	if err != nil {
		return err
	}
	broken := x.state.spec.ValuePolicy().Check(v)
	if broken == nil {
		return nil
	}
	trial, err := x.trial(ctx, v)
	if err != nil || trial {
		return err
	}
	return fmt.Errorf("%w: %w", target.ErrRejected, broken)
}

// trial reports whether a pending value that breaks the policy is a copy of the
// current one. AWS tries a configuration out by its test phase alone, against
// such a copy. It is not about to become current and proves nothing about the
// next value.
func (x *run) trial(ctx context.Context, pending secret.Value) (bool, error) {
	if x.state.try.Phase != PhaseTest {
		return false, nil
	}
	_, cur, err := x.store.Get(ctx, x.state.spec.StorePath(), store.Selector{})
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNoValue) {
		return false, nil
	}
	return err == nil && x.saw(cur).Equal(pending), err
}

// promote makes the pending version the current one by compare-and-set: it fails
// if another version than From is current, or if this one is not pending.
func (x *run) promote(ctx context.Context) error {
	err := x.store.Promote(ctx, x.state.spec.StorePath(), x.state.try.From, x.state.pending.ID)
	if err != nil {
		return err
	}
	x.wrote = true
	x.state = x.state.afterPromotion()
	return nil
}
