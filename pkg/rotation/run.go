package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// maxReads bounds how often one run reads the store and the log, because another
// worker changed the secret in between or an answer showed the past.
const maxReads = 5

// rereadPause is how long a run waits before it reads for the second time. Each
// wait after that is four times as long: some 5 s in all, which is longer than a
// server usually lags behind.
const rereadPause = 60 * time.Millisecond

// Run is one try of a rotation, taken a step at a time. It is not safe for
// concurrent use.
type Run struct {
	r     *Rotator
	store *store.Store
	state State
	reads int
	wrote bool // something in the store

	// made is the value under the token made names, generated or read back by
	// this run: a token never gets a second one.
	made struct {
		token secret.Token
		value secret.Value
	}
}

// Begin returns a run for cause that has done nothing yet.
func (r *Rotator) Begin(ctx context.Context, cause events.Data) (*Run, error) {
	return r.BeginPart(ctx, cause, PartWhole)
}

// BeginPart is Begin for a part of the rotation.
func (r *Rotator) BeginPart(ctx context.Context, cause events.Data, part Part) (*Run, error) {
	spec, st, err := r.find(ctx, cause.SecretID)
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
	if x.lostRace(step, err) {
		if x.reads < maxReads {
			span.SetAttributes(attribute.Bool("rotation.lost_race", true))
			x.pause(ctx)
			x.state = x.state.Lost()
			return "", nil
		}
		err = fmt.Errorf("%w: %w", errLostRace, err)
	}
	if err != nil {
		return "", stepError{step, err}
	}
	return "", nil
}

// lostRace reports whether err says that what the run has read is not what there
// is, which reading again resolves: another writer was quicker, or the answer of
// a store that is replicated showed the past.
func (x *Run) lostRace(step Step, err error) bool {
	switch step {
	case StepRead:
		return errors.Is(err, errOutdated) || x.wrote && errors.Is(err, store.ErrNotFound)
	case StepHeal, StepAnnounce:
		return errors.Is(err, events.ErrConflict)
	case StepCreate:
		return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) ||
			errors.Is(err, store.ErrTokenReused) && !errors.Is(err, ErrRejected)
	case StepApply, StepVerify, StepPromote:
		return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound)
	default:
		return errors.Is(err, errOutdated) || errors.Is(err, store.ErrNotFound)
	}
}

// pause waits before the store is read again, longer each time, and up to half as
// long again at random, so that workers that met do not meet again.
func (x *Run) pause(ctx context.Context) {
	d := rereadPause << (2 * max(x.reads-1, 0))
	backoff.Pause(ctx, d+backoff.Random(d/2))
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
	spec, meta, err := x.r.describe(ctx, x.state.Spec)
	if errors.Is(err, store.ErrNotFound) && x.state.Spec.Create {
		meta, err = secret.Metadata{Path: x.state.Spec.StorePath()}, nil
	}
	if err != nil {
		return err
	}
	if err := x.outdated(meta); err != nil {
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

// outdated returns an error if meta is older than what the run knows: the version
// that the cause names has been current, and this run may have seen it. From the
// first read it may be gone.
func (x *Run) outdated(meta secret.Metadata) error {
	from := x.state.Cause.VersionID
	v, ok := meta.Version(from)
	if from == "" || ok && v.Stage != secret.StagePending || !ok && x.reads == 1 {
		return nil
	}
	return fmt.Errorf("%w: version %s is not current there yet", errOutdated, from)
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
		Replace: x.state.Abandoned(x.r.TakeoverAttempts),
		Create:  spec.Create,
	}
	if ttl := spec.Lifetime(x.state.Meta); ttl > 0 {
		w.NotAfter = now.Add(ttl)
	}
	v, err := x.store.Put(ctx, spec.StorePath(), w)
	if errors.Is(err, store.ErrTokenReused) && x.spent(ctx) {
		return errors.Join(ErrRejected, err)
	}
	if err != nil {
		return err
	}
	x.wrote, x.made.token, x.made.value = true, w.Token, value
	x.state = x.state.WasCreated(v)
	return nil
}

// spent reports whether the token of this rotation names a version that is not
// pending any more: another writer took its stage away, and the rotation needs a
// fresh token. The version has to be seen. That none is pending proves nothing,
// since the answer may show the past; that this one has left its stage stays true,
// since no version becomes pending again.
func (x *Run) spent(ctx context.Context) bool {
	token := x.state.Token()
	for _, v := range x.state.Meta.Versions {
		if v.Token == token {
			return v.Stage != secret.StagePending
		}
	}
	// AWS does not list a version that lost its last label.
	v, _, err := x.store.Get(ctx, x.state.Spec.StorePath(), store.Selector{Version: secret.VersionID(token)})
	return err == nil && v.Stage != secret.StagePending
}

// generate returns the value for the token of this rotation, a fresh one unless
// this run has made it before.
func (x *Run) generate(ctx context.Context) (secret.Value, error) {
	if x.made.token == x.state.Token() {
		return x.made.value, nil
	}
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
	p := x.state.Pending
	if x.made.token == p.Token {
		return x.made.value, nil
	}
	_, v, err := x.store.Get(ctx, x.state.Spec.StorePath(), store.Selector{Version: p.ID})
	if err == nil {
		x.made.token, x.made.value = p.Token, v
	}
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
	x.wrote = true
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
