package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// errBlocked means that the previous version may not be retired yet: an instance
// does not run the new one, or the rollout has not converged for long enough.
var errBlocked = errors.New("still in use")

const (
	// retireRetry is how soon a retirement that is blocked is tried again, and
	// longestWait the longest pause when it is known what it waits for.
	retireRetry = time.Minute
	longestWait = 10 * time.Minute
)

// The steps of a retirement that a rotation does not have.
const (
	stepProve  = "prove"
	stepRevoke = "revoke"
	stepRetire = "retire"
)

// retire retires every version before the one that the order names, if that one
// is current and the records of the fleet, read behind a barrier, prove that no
// instance can still use what was before (invariant 5). The order itself proves
// nothing.
func (r *Rotator) retire(ctx context.Context, e events.Event) error {
	order := e.Data
	ctx, span := r.tracer.Start(ctx, "retire")
	defer span.End()
	err := r.tryRetire(ctx, e)
	if err == nil {
		return nil
	}
	f, final := failure(err), permanent(err)
	r.failures.Add(ctx, 1, failureAttributes(f.Step, f.Code, final))
	level := slog.LevelWarn
	if final {
		level, err = slog.LevelError, events.Permanent(err)
	}
	r.log.LogAttrs(ctx, level, "secret.retire_failed", slog.Bool("final", final), slog.String("secret_id", string(order.SecretID)),
		slog.String("version_id", string(order.PreviousVersionID)), slog.String("error", err.Error()))
	return err
}

// tryRetire reads the log before the store, and the store before the fleet: an event
// that is published in between makes announceRetired fail, and the next run starts
// from it.
//
// Of an order that has expired only the secret is taken: the log says the rest.
func (r *Rotator) tryRetire(ctx context.Context, e events.Event) error {
	order := e.Data
	spec, st, err := r.find(ctx, order.SecretID)
	if err != nil {
		return stepError{stepRead, escalate(order.Retry, err)}
	}
	log, announced, err := r.logged(ctx, spec.ID)
	if err != nil {
		return stepError{stepRead, err}
	}
	if e.Expired(time.Now()) {
		order = log.Event.Data
		order.Retry = e.Data.Retry
	}
	spec, meta, err := r.describe(ctx, spec)
	if err != nil {
		return stepError{stepRead, escalate(order.Retry, err)}
	}
	if meta.Current().ID != order.VersionID {
		return nil // superseded: the rollout of the next version retires both
	}
	if err := r.unstage(ctx, spec, st, meta, order, log.Event.Data); err != nil {
		return err
	}
	s := &suspension{r, spec, meta, order, log}
	side, err := r.drained(ctx, spec, meta, order, log.Event.Data, s.active())
	if err != nil {
		return s.held(ctx, err)
	}
	spec.Proof.TargetUnknown = side.unknown
	proof, done, err := r.prove(ctx, spec, meta, order, log.Event.Data, announced)
	if err != nil || done {
		return s.held(ctx, err)
	}
	proof.Target = side.samples
	if proof.Soak, err = s.soak(ctx); err != nil {
		return err
	}
	if err := r.record(ctx, proof, meta); err != nil {
		return err
	}
	if err := r.retireVersions(ctx, spec, st, meta, order, log.Event.Data); err != nil {
		return err
	}
	return r.announceRetired(ctx, s.log, proof.Question.Ask(proof.Fleet).Applied)
}

// unstage takes the stage of the versions before away, once their rollout has
// drained, and leaves their values: an instance that starts after that finds none of
// them, so that what the fleet says next stays true. [unrevoked] lists them until they
// are retired in the mode of the secret.
func (r *Rotator) unstage(ctx context.Context, spec secret.Spec, st *store.Store, meta secret.Metadata, order, logged events.Data) error {
	if !isDraining(order, logged) {
		return nil // prove says why not
	}
	for _, v := range meta.Versions {
		if v.Stage != secret.StagePrevious {
			continue
		}
		if err := st.RetireWhile(ctx, spec.StorePath(), v.ID, secret.RetireLater, order.VersionID); err != nil {
			return stepError{stepRetire, err}
		}
	}
	return nil
}

func isDraining(order, logged events.Data) bool {
	return logged.VersionID == order.VersionID && logged.Rollout != nil && logged.Rollout.State == events.RolloutDraining
}

// logged returns the last rollout event of a secret, and its last announcement. An
// event that no trusted key has signed says nothing.
func (r *Rotator) logged(ctx context.Context, id secret.ID) (last, announced events.Announcement, err error) {
	if last, err = r.cfg.Bus.Last(ctx, events.TypeRollout, id); err != nil && !errors.Is(err, events.ErrUntrusted) {
		return last, announced, err
	}
	announced, err = r.cfg.Bus.Last(ctx, events.TypeRotated, id)
	if errors.Is(err, events.ErrUntrusted) {
		announced, err = events.Announcement{}, nil
	}
	return last, announced, err
}

// prove returns the proof, and whether an earlier run has carried the order out. The error
// wraps errBlocked unless the log and the fleet prove that no instance uses or accepts
// what was before.
func (r *Rotator) prove(ctx context.Context, spec secret.Spec, meta secret.Metadata, order, logged events.Data, announced events.Announcement) (p rollout.Proof, done bool, err error) {
	if announced.Event.Data.VersionID != order.VersionID {
		return p, false, stepError{stepProve, events.RetryAfter(fmt.Errorf("%w: the last announcement in the log is not that of version %s", errBlocked, order.VersionID), retireRetry)}
	}
	fleet, err := r.cfg.Bus.Fleet(ctx, spec.ID)
	if err != nil {
		return p, false, stepError{stepProve, events.RetryAfter(err, retireRetry)}
	}
	confirmed, err := r.cfg.Bus.Confirmations(ctx, spec.ID, spec.Proof.Consumers)
	if err != nil {
		return p, false, stepError{stepProve, events.RetryAfter(err, retireRetry)}
	}
	pending, _ := meta.At(secret.StagePending)
	q := rollout.Question{
		Spec: spec, VersionID: order.VersionID, Pending: pending.ID, Unstaged: true, Promoted: announced.At, Confirmed: confirmed,
		Foreign: rollout.Foreign(spec, announced.Event.Data, false),
	}
	v := q.MayRetire(order, logged, fleet)
	if len(v.Breaks) > 0 {
		r.log.LogAttrs(ctx, slog.LevelError, "secret.retire_breaks", slog.String("secret_id", string(spec.ID)), slog.Any("instances", rollout.Listed(v.Breaks)),
			slog.String("message", "an emergency does not wait for the fences of silent instances"))
	}
	switch {
	case v.Done:
		return p, true, nil
	case !v.Allowed():
		err := unprovenError{fmt.Errorf("%w: %s", errBlocked, v.Because)}
		return p, false, stepError{stepProve, events.RetryAfter(err, cmp.Or(min(v.Wait, longestWait), retireRetry))}
	}
	return rollout.Proof{Question: q, Order: order, Logged: logged, Fleet: fleet}, false, nil
}

// retireMode returns what becomes of the values that are retired: an emergency
// destroys them.
func retireMode(spec secret.Spec, order, logged events.Data) secret.RetireMode {
	if rollout.IsEmergency(order, logged) {
		return secret.RetireDestroy
	}
	return spec.RetireMode()
}

// unrevoked returns the versions that a retirement drains, revokes and retires, in the
// order of the store: those before the current one that have a stage or a value and were
// not kept on purpose, and the one before in the log. That one is always among them: the
// store may not list it any more, or may have destroyed its value without the target. To
// revoke a version again changes nothing.
func unrevoked(m secret.Metadata, logged events.Data) []secret.VersionID {
	var out []secret.VersionID
	previous := logged.PreviousVersionID
	for _, v := range m.Versions {
		switch {
		case v.Stage == secret.StageCurrent, v.Stage == secret.StagePending:
			if v.ID == previous {
				previous = ""
			}
		case v.Stage != secret.StageRetired, !v.Empty && !v.Kept:
			out = append(out, v.ID)
		}
	}
	if previous != "" && !slices.Contains(out, previous) {
		out = append(out, previous)
	}
	return out
}

// retireVersions revokes each version at the target and then retires it in the
// store. A crash in between leaves it in the store, so the next run revokes it
// again.
//
// The proof is about the version of the order. A worker that was paused after the
// proof, while another version became current, gets a conflict, and reads again.
func (r *Rotator) retireVersions(ctx context.Context, spec secret.Spec, st *store.Store, meta secret.Metadata, order, logged events.Data) error {
	mode := retireMode(spec, order, logged)
	t, err := r.targetFor(ctx, spec)
	if err != nil {
		return stepError{stepRevoke, err}
	}
	for _, v := range unrevoked(meta, logged) {
		if err := stillCurrent(ctx, st, spec.StorePath(), order.VersionID); err != nil {
			return stepError{stepRevoke, err}
		}
		if err := r.revoke(ctx, t, target.Ref{Secret: spec.ID, Version: v}); err != nil {
			return stepError{stepRevoke, err}
		}
		if err := st.RetireWhile(ctx, spec.StorePath(), v, mode, order.VersionID); err != nil {
			return stepError{stepRetire, err}
		}
		r.retired.Add(ctx, 1)
		r.log.LogAttrs(ctx, slog.LevelInfo, "secret.retired", slog.String("secret_id", string(spec.ID)), slog.String("version_id", string(v)),
			slog.String("mode", string(mode)))
	}
	return nil
}

func (r *Rotator) revoke(ctx context.Context, t target.Target, ref target.Ref) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.TargetTimeout)
	defer cancel()
	return t.Revoke(ctx, ref, target.Drain{})
}

// stillCurrent returns a conflict unless the version is the current one. No target
// can revoke on that condition, so it is asked right before.
func stillCurrent(ctx context.Context, st *store.Store, path string, v secret.VersionID) error {
	m, err := st.Describe(ctx, path)
	if err == nil && m.Current().ID != v {
		err = fmt.Errorf("%w: the current version is %q, not %q any more", store.ErrConflict, m.Current().ID, v)
	}
	return err
}

// announceRetired closes the rollout that prove has read in the log. It follows that
// event, so that of two workers one announces.
func (r *Rotator) announceRetired(ctx context.Context, log events.Announcement, applied int) error {
	if _, err := r.cfg.Bus.PublishAfter(ctx, rollout.Retired(r.cfg.Source, time.Now(), log.Event.Data, applied), log.Seq); err != nil {
		return stepError{stepAnnounce, err}
	}
	return nil
}
