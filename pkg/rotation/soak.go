package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// stepSoak is the step of a retirement that suspends the versions that it will revoke.
const stepSoak = "soak"

// soakRetry is the longest pause between two looks at a target that tells of uses that it
// refused: a client of a suspended version fails for that long.
const soakRetry = 15 * time.Second

// errSuspendedUse means that a version was used while it was suspended. It is an
// errBlocked that a person has to hear of.
var errSuspendedUse = fmt.Errorf("%w: it was suspended and used, and has come back", errBlocked)

// soakError says since when versions are suspended, for the next try.
type soakError struct {
	// suspendedAt is zero once they have come back.
	suspendedAt time.Time
	// resumed says who used them, nil if the target saw no use of them.
	resumed *events.Resumed
	err     error
}

func (e *soakError) Error() string { return e.err.Error() }
func (e *soakError) Unwrap() error { return e.err }

// soakState adds to the next try what it has to know of a suspension. A failure of another
// kind leaves it as it is.
func soakState(r events.Retry, cause error) events.Retry {
	e, ok := errors.AsType[*soakError](cause)
	if !ok {
		return r
	}
	r.SuspendedAt = e.suspendedAt
	if e.resumed != nil {
		r.Resumed = e.resumed
	}
	return r
}

// unprovenError is that of a retirement that the log or the fleet does not allow.
type unprovenError struct{ error }

func (e unprovenError) Unwrap() error { return e.error }

// quietWindow returns for how long a target must see no use. It doubles each time that a
// use showed only when the versions were suspended.
func quietWindow(spec secret.Spec, order events.Data) time.Duration {
	window := max(0, spec.GracePeriod())
	if n := order.Retry.Resumed; n != nil && n.Times > 0 {
		window = max(window, time.Minute) << min(n.Times, 8)
	}
	return window
}

// suspension is what is, or will be, suspended in one try of a retirement. The log says so
// before the target is told, and until the versions are revoked or have come back, so that
// any worker can resume them.
type suspension struct {
	r     *Rotator
	spec  secret.Spec
	meta  secret.Metadata
	order events.Data
	log   events.Announcement // moves on with what is published
}

// logged reports whether the log says that the versions are, or may be, suspended.
func (s *suspension) logged() bool {
	d := s.log.Event.Data
	return d.VersionID == s.order.VersionID && d.Rollout != nil && d.Rollout.Suspended
}

// active reports whether the versions may be suspended.
func (s *suspension) active() bool { return s.logged() || !s.order.Retry.SuspendedAt.IsZero() }

// at returns since when the versions are suspended, zero if that is not known. An earlier
// try says nothing after another worker has resumed them.
func (s *suspension) at() time.Time {
	if !s.logged() {
		return time.Time{}
	}
	return s.order.Retry.SuspendedAt
}

// soak returns what the receipt says of the suspension once the versions may be revoked.
// Until then it returns an error that wraps errBlocked.
func (s *suspension) soak(ctx context.Context) (*events.ReceiptSoak, error) {
	t, err := s.r.targetFor(ctx, s.spec)
	if err != nil {
		return nil, stepError{stepSoak, err}
	}
	if _, nowhere := t.(target.ValueOnly); nowhere {
		return nil, nil //nolint:nilnil // nothing is to be said of it
	}
	if why := s.skipped(t); why != "" {
		return &events.ReceiptSoak{Skipped: why}, nil
	}
	used, watched, err := s.refused(ctx, t)
	if err != nil {
		return nil, stepError{stepSoak, events.RetryAfter(fmt.Errorf("%w: whether suspended versions are used is unknown: %w", errBlocked, err), soakRetry)}
	}
	now := time.Now()
	state := rollout.Soak{Period: s.spec.SoakPeriod(), Suspended: s.active(), At: s.at(), Held: len(used) > 0}
	switch step, left := state.Step(now); step {
	case rollout.SoakResume, rollout.SoakNone:
		return nil, s.resume(ctx, used, errBlocked)
	case rollout.SoakSuspend:
		return s.suspend(ctx, t, now)
	case rollout.SoakWait:
		return nil, s.wait(t, s.at(), left)
	default:
		return &events.ReceiptSoak{SuspendedAt: s.at(), Watched: watched}, nil
	}
}

// skipped returns why nothing is suspended, "" if it is.
func (s *suspension) skipped(t target.Target) string {
	can := t.Capabilities()
	_, ok := t.(target.Suspender)
	switch {
	case rollout.IsEmergency(s.order, s.log.Event.Data):
		return "an emergency does not wait"
	case s.spec.SoakPeriod() == 0:
		return "soak: none"
	case can.Overlap == target.OverlapNone:
		return "the new value has replaced the old one"
	case !ok || !can.Suspends:
		return "the target suspends no credential"
	default:
		return ""
	}
}

// refused returns the uses of suspended versions that the target has refused, and whether
// it can tell.
func (s *suspension) refused(ctx context.Context, t target.Target) (used []events.Blocker, watched bool, err error) {
	w, ok := t.(target.Watcher)
	if !ok || s.at().IsZero() {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.r.cfg.TargetTimeout)
	defer cancel()
	for _, v := range unrevoked(s.meta, s.log.Event.Data) {
		found, err := w.Refused(ctx, target.Ref{Secret: s.spec.ID, Version: v}, max(0, time.Since(s.at())))
		if errors.Is(err, target.ErrUnsupported) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		for _, f := range found {
			detail := "a login was refused at " + f.Since.UTC().Format(time.RFC3339)
			used = append(used, events.Blocker{Instance: f.Client, VersionID: v, Reason: events.BlockInUse, Detail: detail})
		}
	}
	return used, true, nil
}

// suspend suspends the versions. It returns no error if the target turns out not to do so.
func (s *suspension) suspend(ctx context.Context, t target.Target, now time.Time) (*events.ReceiptSoak, error) {
	if !s.logged() {
		if err := s.publish(ctx, true, nil); err != nil {
			return nil, stepError{stepSoak, err}
		}
	}
	err := s.each(ctx, t, target.Suspender.Suspend)
	if errors.Is(err, target.ErrUnsupported) {
		if err := s.publish(ctx, false, nil); err != nil {
			return nil, stepError{stepSoak, err}
		}
		return &events.ReceiptSoak{Skipped: "the target suspends no credential"}, nil
	}
	if err != nil {
		return nil, stepError{stepSoak, fmt.Errorf("suspend: %w", err)}
	}
	period := s.spec.SoakPeriod()
	s.r.log.LogAttrs(ctx, slog.LevelInfo, "secret.suspended", slog.String("secret_id", string(s.spec.ID)), slog.Time("until", now.Add(period)))
	return nil, s.wait(t, now, period)
}

// wait returns the error of a try within the soak.
func (s *suspension) wait(t target.Target, at time.Time, left time.Duration) error {
	err := fmt.Errorf("%w: it is suspended until %s", errBlocked, at.Add(s.spec.SoakPeriod()).UTC().Format(time.RFC3339))
	pause := drainRetry(s.spec.SoakPeriod())
	if _, ok := t.(target.Watcher); ok {
		pause = min(pause, soakRetry)
	}
	return stepError{stepSoak, events.RetryAfter(&soakError{suspendedAt: at, err: err}, min(left, pause))}
}

// each calls a method of the target for each version that is not the current one's own
// value under another name.
func (s *suspension) each(ctx context.Context, t target.Target, call func(target.Suspender, context.Context, target.Ref) error) error {
	sus, ok := t.(target.Suspender)
	if !ok {
		return target.ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(ctx, s.r.cfg.TargetTimeout)
	defer cancel()
	for _, v := range unrevoked(s.meta, s.log.Event.Data) {
		if err := call(sus, ctx, target.Ref{Secret: s.spec.ID, Version: v}); err != nil && !errors.Is(err, target.ErrCurrent) {
			return fmt.Errorf("version %s: %w", v, err)
		}
	}
	return nil
}

// publish puts into the log whether the versions are suspended, directly after what was
// read of it.
func (s *suspension) publish(ctx context.Context, suspended bool, used []events.Blocker) error {
	e := rollout.Suspended(s.r.cfg.Source, time.Now(), s.log.Event.Data, suspended, used)
	seq, err := s.r.cfg.Bus.PublishAfter(ctx, e, s.log.Seq)
	if err == nil {
		s.log.Seq, s.log.Event = seq, e
	}
	return err
}

// held resumes what is suspended if a session or the fleet holds the retirement back, and
// returns the error of the try. What is not known changes nothing.
func (s *suspension) held(ctx context.Context, cause error) error {
	drain, seen := errors.AsType[*drainError](cause)
	seen = seen && drain.open != nil
	_, unproven := errors.AsType[unprovenError](cause)
	if !s.active() || !seen && !unproven {
		return cause
	}
	if seen {
		return s.resume(ctx, drain.open.Sessions, cause)
	}
	return s.resume(ctx, nil, cause)
}

// resume has suspended versions come back, and returns the error of the try. A rollout
// that does not drain is ordered anew once it does.
func (s *suspension) resume(ctx context.Context, used []events.Blocker, cause error) error {
	t, err := s.r.targetFor(ctx, s.spec)
	if err == nil {
		err = s.each(ctx, t, target.Suspender.Resume)
	}
	if errors.Is(err, target.ErrUnsupported) || errors.Is(err, target.ErrGone) {
		err = nil // what cannot come back was not suspended, or was destroyed since
	}
	if err == nil && s.logged() {
		err = s.publish(ctx, false, used)
	}
	if err != nil {
		return stepError{stepSoak, events.RetryAfter(fmt.Errorf("resume what is suspended: %w: %w", err, cause), soakRetry)}
	}
	var named []string
	for _, b := range used[:min(len(used), maxNamed)] {
		named = append(named, strings.TrimSpace(b.Instance+" "+b.Detail))
	}
	s.r.log.LogAttrs(ctx, slog.LevelError, "secret.resumed", slog.String("secret_id", string(s.spec.ID)), slog.Any("clients", named), slog.String("error", cause.Error()))
	if !isDraining(s.order, s.log.Event.Data) {
		return nil
	}
	out := &soakError{err: cause}
	if len(used) > 0 {
		out.resumed = &events.Resumed{At: time.Now(), Times: 1, Clients: &events.InUse{Total: len(used), Sessions: used[:min(len(used), maxNamed)]}}
		if before := s.order.Retry.Resumed; before != nil {
			out.resumed.Times += before.Times
		}
		out.err = fmt.Errorf("%w, by %s: %w", errSuspendedUse, strings.Join(named, ", "), cause)
	}
	return stepError{stepSoak, events.RetryAfter(out, drainRetry(quietWindow(s.spec, s.order)))}
}
