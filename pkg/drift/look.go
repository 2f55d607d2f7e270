package drift

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// renewAfter is how old what is in the log may be before it is said again.
const renewAfter = 24 * time.Hour

// maxMessage bounds what an event has of an error, in bytes.
const maxMessage = 1024

// finding is what one login has shown.
type finding struct {
	version secret.VersionID
	state   events.VerifiedState
	err     error
}

// Look logs in with the current version of a secret, once, and reports what that shows:
// in the log and in the metric. It returns "" for a secret that has no target or no
// version, and where the version changed meanwhile.
func (w *Watcher) Look(ctx context.Context, s secret.Spec) events.VerifiedState {
	f := w.find(ctx, s)
	if ctx.Err() != nil {
		return ""
	}
	w.note(s.ID, f.state)
	if f.state == "" {
		return ""
	}
	if err := w.tell(ctx, s, f); err != nil && ctx.Err() == nil {
		w.log.LogAttrs(ctx, slog.LevelWarn, "target.verification_not_told", slog.String("secret_id", string(s.ID)), slog.String("error", err.Error()))
	}
	return f.state
}

func (w *Watcher) find(ctx context.Context, s secret.Spec) finding {
	t, err := w.cfg.TargetFor(ctx, s)
	if err == nil && t == nil {
		return finding{}
	}
	if err != nil {
		return finding{state: events.VerifiedUnknown, err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout+t.Capabilities().Lag)
	defer cancel()
	meta, err := w.describe(ctx, s)
	if err != nil {
		return finding{state: events.VerifiedUnknown, err: err}
	}
	f := finding{version: meta.Current().ID}
	if f.version == "" {
		return finding{}
	}
	if f.err = w.login(ctx, s, t, f.version); f.err == nil {
		f.state = events.VerifiedWorks
		return f
	}
	f.state = events.VerifiedUnknown
	if !errors.Is(f.err, target.ErrRefused) {
		return f
	}
	return w.confirm(ctx, s, t, f)
}

// confirm turns a refusal into a finding, unless a rotation is what it comes from: without
// overlap the current value stops working as soon as the next one is applied.
func (w *Watcher) confirm(ctx context.Context, s secret.Spec, t target.Target, f finding) finding {
	meta, err := w.describe(ctx, s)
	pending, rotating := meta.At(secret.StagePending)
	switch {
	case err != nil:
		f.err = fmt.Errorf("%w; whether the version is current still is unknown: %w", f.err, err)
	case meta.Current().ID != f.version:
		return finding{}
	case rotating && t.Capabilities().Overlap == target.OverlapNone:
		f.err = fmt.Errorf("%w; version %s is pending, and replaces it at the target before it is current", f.err, pending.ID)
	default:
		f.state = events.VerifiedRefused
	}
	return f
}

func (w *Watcher) store(s secret.Spec) (*store.Store, error) {
	st, ok := w.cfg.Stores.Get(s.Store)
	if !ok {
		return nil, fmt.Errorf("store %q is not configured", s.Store)
	}
	return st, nil
}

func (w *Watcher) describe(ctx context.Context, s secret.Spec) (secret.Metadata, error) {
	st, err := w.store(s)
	if err != nil {
		return secret.Metadata{}, err
	}
	meta, err := st.Describe(ctx, s.StorePath())
	if errors.Is(err, store.ErrNotFound) {
		return secret.Metadata{}, nil
	}
	return meta, err
}

// login logs in with a version on every endpoint. Its error holds no value.
func (w *Watcher) login(ctx context.Context, s secret.Spec, t target.Target, v secret.VersionID) error {
	st, err := w.store(s)
	if err != nil {
		return err
	}
	_, value, err := st.Get(ctx, s.StorePath(), store.Selector{Version: v, Primary: true})
	if err != nil {
		return err
	}
	return target.Try(ctx, t, s, v, value)
}

// tell puts what a login has shown into the log, unless that has it. Another worker may
// have done so meanwhile: then this one says it the next time, if it still holds.
func (w *Watcher) tell(ctx context.Context, s secret.Spec, f finding) error {
	w.say(ctx, s, f)
	if f.version == "" {
		return nil // the store did not say of which version that is
	}
	last, err := w.cfg.Bus.Last(ctx, events.TypeVerified, s.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return err
	}
	now, d := time.Now(), last.Event.Data
	v := events.Verification{State: f.state, Since: now, Message: f.message()}
	if d.Verification != nil && d.VersionID == f.version && d.Verification.State == f.state {
		if now.Sub(d.OccurredAt) < renewAfter {
			return nil
		}
		v.Since = d.Verification.Since
	}
	e := events.Event{
		ID:   string(secret.NewToken(s.ID, f.version, fmt.Sprint(events.TypeVerified, " ", f.state), int(last.Seq))),
		Type: events.TypeVerified, Source: w.cfg.Source, Time: now,
		Data: events.Data{SecretID: s.ID, Store: s.Store, VersionID: f.version, OccurredAt: now, Verification: &v},
	}
	_, err = w.cfg.Bus.PublishAfter(ctx, e, last.Seq)
	if errors.Is(err, events.ErrConflict) {
		return nil
	}
	return err
}

// say logs what is not as it should be.
func (w *Watcher) say(ctx context.Context, s secret.Spec, f finding) {
	level := slog.LevelError
	switch f.state {
	case events.VerifiedWorks:
		return
	case events.VerifiedUnknown:
		level = slog.LevelWarn
	case events.VerifiedRefused:
	}
	w.log.LogAttrs(ctx, level, "target.verification", slog.String("secret_id", string(s.ID)), slog.String("version_id", string(f.version)),
		slog.String("state", string(f.state)), slog.String("error", f.message()))
}

func (f finding) message() string {
	if f.err == nil {
		return ""
	}
	text := f.err.Error()
	return text[:min(len(text), maxMessage)]
}
