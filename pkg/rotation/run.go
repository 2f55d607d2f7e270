package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// maxReads bounds how often one run reads again because somebody else changed
// the secret in between.
const maxReads = 5

// Run is one try of a rotation, taken a step at a time. It is not safe for
// concurrent use.
type Run struct {
	r       *Rotator
	store   *store.Store
	state   State
	pending secret.Value
	reads   int
}

// Begin returns a run for cause that has done nothing yet.
func (r *Rotator) Begin(ctx context.Context, cause events.Data) (*Run, error) {
	return r.BeginPart(ctx, cause, PartWhole)
}

// BeginPart is Begin for a part of the rotation.
func (r *Rotator) BeginPart(ctx context.Context, cause events.Data, part Part) (*Run, error) {
	spec, st, err := r.Catalog.Find(ctx, cause.SecretID)
	if err != nil {
		return nil, stepError{StepRead, err}
	}
	x := &Run{r: r, store: st, state: NewState(spec, cause)}
	x.state.Part = part
	return x, nil
}

// State returns what the run knows.
func (x *Run) State() State { return x.state }

// Step takes the next step. It returns the outcome once there is nothing left
// to do, and "" before. After an error the run is over.
func (x *Run) Step(ctx context.Context) (Outcome, error) {
	step, out := x.state.Next()
	if step == StepDone {
		return out, nil
	}
	ctx, span := x.r.tracer.Start(ctx, "rotation."+string(step))
	defer span.End()
	err := x.do(ctx, step)
	if lostRace(step, err) && x.reads < maxReads {
		span.SetAttributes(attribute.Bool("rotation.lost_race", true))
		x.state = x.state.Lost()
		return "", nil
	}
	if err != nil {
		return "", stepError{step, err}
	}
	return "", nil
}

// lostRace reports whether err says that somebody else was quicker, which
// reading again resolves.
func lostRace(step Step, err error) bool {
	switch step {
	case StepHeal, StepAnnounce:
		return errors.Is(err, events.ErrConflict)
	case StepCreate:
		return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrTokenReused)
	case StepApply, StepVerify, StepPromote:
		return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound)
	default:
		return false
	}
}

func (x *Run) do(ctx context.Context, step Step) error {
	switch step {
	case StepRead:
		return x.read(ctx)
	case StepHeal, StepAnnounce:
		return x.announce(ctx, step)
	case StepTrigger:
		return x.trigger(ctx)
	case StepFollow:
		return x.follow(ctx)
	case StepCreate:
		return x.create(ctx)
	case StepApply:
		return x.target(ctx, step, Target.Apply)
	case StepVerify:
		return x.target(ctx, step, Target.Verify)
	case StepStage:
		return x.stage(ctx)
	case StepAwait:
		return x.await(ctx)
	case StepPromote:
		return x.promote(ctx)
	case StepArm:
		return x.arm(ctx)
	default:
		return fmt.Errorf("unknown step %q", step)
	}
}

func (x *Run) read(ctx context.Context) error {
	x.reads++
	log, noLog, err := x.readLog(ctx)
	if err != nil {
		return err
	}
	spec, meta, err := x.r.Catalog.Describe(ctx, x.state.Spec)
	if errors.Is(err, store.ErrNotFound) && x.state.Spec.Create {
		meta, err = secret.Metadata{Path: x.state.Spec.StorePath()}, nil
	}
	if err != nil {
		return err
	}
	x.state.Spec = spec
	due, err := x.due(meta, time.Now())
	if err != nil {
		return err
	}
	x.state = x.state.WasRead(meta, log, due)
	if noLog {
		x.state = x.state.WithoutLog()
	}
	x.takePending()
	return nil
}

// readLog returns what was last announced, which an early part has no use for.
func (x *Run) readLog(ctx context.Context) (last events.Announcement, none bool, err error) {
	if x.state.Part.early() {
		return last, true, nil
	}
	last, err = x.r.Bus.Last(ctx, events.TypeRotated, x.state.Spec.ID)
	switch {
	case errors.Is(err, ErrNoLog):
		return events.Announcement{}, true, nil
	case errors.Is(err, events.ErrUntrusted):
		return last, false, nil
	default:
		return last, false, err
	}
}

// due reports whether the rotation may start: one that somebody asked for
// always may, a scheduled one from [secret.Spec.DueAt] on, or when there is no
// current version at all.
func (x *Run) due(m secret.Metadata, now time.Time) (bool, error) {
	switch x.state.Cause.Reason {
	case events.ReasonManual, events.ReasonEmergency, events.ReasonLambda:
		return true, nil
	default:
	}
	if m.Current().ID == "" {
		return true, nil
	}
	if _, begun := m.At(secret.StagePending); begun && x.state.managed() {
		return true, nil // somebody else found that it was
	}
	at, err := x.state.Spec.DueAt(m, now)
	if errors.Is(err, secret.ErrNoWindow) {
		err = nil // the scheduler says so loudly; the time beside it stands
	}
	return err == nil && !at.IsZero() && !now.Before(at), err
}

func (x *Run) create(ctx context.Context) error {
	if p, ok := x.state.Reusable(); ok {
		x.state = x.state.WasCreated(p)
		return nil
	}
	value, err := x.generate(ctx)
	if err != nil {
		return err
	}
	spec, now := x.state.Spec, time.Now()
	w := store.Write{
		Token:   x.state.Token(),
		From:    x.state.Cause.VersionID,
		Value:   value,
		Replace: x.state.Abandoned(x.r.Patience),
		Create:  spec.Create,
	}
	if ttl := spec.Lifetime(x.state.Meta); ttl > 0 {
		w.NotAfter = now.Add(ttl)
	}
	v, err := x.store.Put(ctx, spec.StorePath(), w)
	if err != nil {
		return err
	}
	x.pending = value
	x.state = x.state.WasCreated(v)
	return nil
}

func (x *Run) generate(ctx context.Context) (secret.Value, error) {
	policy := x.state.Spec.ValuePolicy()
	if policy.Field == "" {
		return policy.Generate(x.r.Random)
	}
	_, cur, err := x.store.Get(ctx, x.state.Spec.StorePath(), store.Selector{})
	if err != nil {
		return secret.Value{}, fmt.Errorf("read the document whose field %s is rotated: %w", policy.Field, err)
	}
	return policy.Next(x.r.Random, cur)
}

// value returns the pending value, read back when an earlier run wrote it.
func (x *Run) value(ctx context.Context) (secret.Value, error) {
	if x.pending.Len() > 0 {
		return x.pending, nil
	}
	_, v, err := x.store.Get(ctx, x.state.Spec.StorePath(), store.Selector{Version: x.state.Pending.ID})
	x.pending = v
	return v, err
}

// target runs one method of the secret's target. A secret without a target has
// nothing to apply, and is verified against its policy.
func (x *Run) target(ctx context.Context, step Step, do func(Target, context.Context, Change) error) error {
	t := x.r.Targets[x.state.Spec.ID]
	if t == nil && step == StepApply {
		x.state = x.state.Did(step)
		return nil
	}
	v, err := x.value(ctx)
	if err != nil {
		return err
	}
	if step == StepVerify {
		if err := x.checkPolicy(ctx, v); err != nil {
			return err
		}
	}
	if t != nil {
		if err := do(t, ctx, Change{Spec: x.state.Spec, Pending: v}); err != nil {
			return err
		}
	}
	x.state = x.state.Did(step)
	return nil
}

func (x *Run) checkPolicy(ctx context.Context, v secret.Value) error {
	broken := x.state.Spec.ValuePolicy().Check(v)
	if broken == nil {
		return nil
	}
	switch trial, err := x.trial(ctx, v); {
	case err != nil:
		return err
	case trial:
		return nil
	default:
		return fmt.Errorf("%w: %w", ErrRejected, broken)
	}
}

func (x *Run) promote(ctx context.Context) error {
	err := x.store.Promote(ctx, x.state.Spec.StorePath(), x.state.Cause.VersionID, x.state.Pending.ID)
	if err != nil {
		return err
	}
	x.state = x.state.WasPromoted()
	return nil
}

// announce publishes secret.rotated for the current version, directly after
// the announcement that was last when the store was read.
func (x *Run) announce(ctx context.Context, step Step) error {
	e := x.r.rotated(x.state, step)
	seq, err := x.r.Bus.PublishAfter(ctx, e, x.state.Log.Seq)
	if err != nil {
		return err
	}
	x.state.Log = events.Announcement{Event: e, Seq: seq}
	x.state = x.state.Did(step)
	x.r.log.LogAttrs(ctx, slog.LevelInfo, "secret.rotated", slog.String("secret_id", string(e.Data.SecretID)),
		slog.String("version_id", string(e.Data.VersionID)), slog.String("previous_version_id", string(e.Data.PreviousVersionID)),
		slog.String("reason", string(e.Data.Reason)))
	return nil
}

// rotated returns the announcement of the current version of s.
func (r *Rotator) rotated(s State, step Step) events.Event {
	cur := s.Meta.Current()
	prev, _ := s.Meta.At(secret.StagePrevious)
	reason := s.Cause.Reason
	if step == StepHeal {
		reason = events.Origin(s.Spec, prev.ID, cur.Token)
	}
	return events.Rotated(r.Source, time.Now(), events.Data{
		SecretID: s.Spec.ID, Store: s.Spec.Store, VersionID: cur.ID, PreviousVersionID: prev.ID,
		Reason: reason, NotAfter: s.Spec.NotAfter(s.Meta, cur), RotationID: cur.Token,
	})
}

// arm sets the timer of the rotation after this one.
func (x *Run) arm(ctx context.Context) error {
	at, err := x.state.Spec.DueAt(x.state.Meta, time.Now())
	if err != nil && !errors.Is(err, secret.ErrNoWindow) {
		return err
	}
	if !at.IsZero() && !x.state.Spec.Disabled {
		e := events.NearExpiry(x.r.Source, time.Now(), x.state.Spec, x.state.Meta)
		if _, err := x.r.Bus.Arm(ctx, e, at); err != nil {
			return err
		}
	}
	x.state = x.state.Did(StepArm)
	return nil
}
