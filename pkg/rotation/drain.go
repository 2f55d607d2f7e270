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

// stepDrain is the step of a retirement that waits for sessions at the target.
const stepDrain = "drain"

// maxNamed is how many clients an error names.
const maxNamed = 5

// drainError says that sessions of a version are open, or were a moment ago.
type drainError struct {
	// quietSince is since when none was seen, zero if one is open.
	quietSince time.Time
	// lastUsed is the last use that the target knows of.
	lastUsed time.Time
	// open are the sessions, nil for none.
	open *events.InUse
	err  error
}

func (e *drainError) Error() string { return e.err.Error() }
func (e *drainError) Unwrap() error { return e.err }

// drainState returns what the next try of a retirement has to know of the sessions, and
// what status shows of them. Any failure but one of the drain begins the window again.
func drainState(cause error) (quietSince, lastUsed time.Time, open *events.InUse) {
	if e, ok := errors.AsType[*drainError](cause); ok {
		return e.quietSince, e.lastUsed, e.open
	}
	return time.Time{}, time.Time{}, nil
}

// targetSide is what a target says of the versions that are to be retired. The zero
// value is that of a secret whose value is valid in its store alone.
type targetSide struct {
	// unknown says that the target can never tell who uses a version. That is no yes:
	// the proof has one side, and its receipt says so.
	unknown bool
	// samples are what the target saw in the last try of the window.
	samples []events.TargetSample
}

// lastUsed returns the last use of a version by the clock of the target, zero for none.
func (s targetSide) lastUsed() time.Time {
	var out time.Time
	for _, v := range s.samples {
		if v.LastUsed.After(out) {
			out = v.LastUsed
		}
	}
	return out
}

// drained returns an error that wraps errBlocked until the target has seen no session
// of the versions that are to be retired for as long as the grace period, in each of the
// tries of that time, and for as long as it may tell of a use late. While the versions are
// suspended no session may be open. A target that can never tell holds nothing back, and
// makes the proof a doubtful one; a target that cannot tell for now holds the retirement
// back. An emergency does not wait.
func (r *Rotator) drained(ctx context.Context, spec secret.Spec, meta secret.Metadata, order, logged events.Data, suspended bool) (side targetSide, err error) {
	if !isDraining(order, logged) {
		return side, nil // prove says why not
	}
	t, err := r.targetFor(ctx, spec)
	if err != nil {
		return side, stepError{stepDrain, err}
	}
	in, ok := t.(target.Inspector)
	if !ok || t.Capabilities().InUse == target.InUseUnknown {
		_, nowhere := t.(target.ValueOnly)
		return targetSide{unknown: !nowhere}, nil
	}
	versions := unrevoked(meta, logged)
	if len(versions) == 0 || rollout.IsEmergency(order, logged) {
		return side, nil
	}
	var open []events.Blocker
	late := t.Capabilities().UseLag
	window, now := quietWindow(spec, order)+late, time.Now()
	for _, v := range versions {
		u, err := r.inUse(ctx, in, target.Ref{Secret: spec.ID, Version: v})
		if err != nil {
			err = fmt.Errorf("%w: use of version %s at the target is unknown: %w", blockedSince(spec, logged, now.Add(-late)), v, err)
			return side, stepError{stepDrain, events.RetryAfter(err, drainRetry(window))}
		}
		open = append(open, clients(v, u, now.Add(-window))...)
		side.samples = append(side.samples, events.TargetSample{At: now, VersionID: v, Sessions: len(u.Sessions), LastUsed: u.LastUsed})
	}
	if len(open) > 0 {
		why := blockedSince(spec, logged, now.Add(-late))
		if err := r.end(ctx, spec, t, versions, logged, now); err != nil {
			why = fmt.Errorf("%w: %w", why, err)
		}
		err := r.inUseError(ctx, spec, open, why)
		return side, stepError{stepDrain, events.RetryAfter(err, drainRetry(window))}
	}
	if suspended {
		return side, nil // no session can be opened, and the soak is a window of its own
	}
	return side, quiet(order, side, window, now)
}

// drainRetry is how soon the target is asked again: several times in a window, and
// not more often than it can bear.
func drainRetry(window time.Duration) time.Duration {
	return min(max(window/5, 5*time.Second), retireRetry)
}

// inUseError names the clients that a try has seen, in the log and for the next try.
func (r *Rotator) inUseError(ctx context.Context, spec secret.Spec, open []events.Blocker, why error) error {
	var named []string
	for _, b := range open[:min(len(open), maxNamed)] {
		named = append(named, strings.TrimSpace(b.Instance+" "+b.Detail))
	}
	level := slog.LevelWarn
	if errors.Is(why, errDrainOverdue) {
		level = slog.LevelError
	}
	r.log.LogAttrs(ctx, level, "secret.in_use", slog.String("secret_id", string(spec.ID)), slog.Int("sessions", len(open)), slog.Any("clients", named),
		slog.Bool("overdue", level == slog.LevelError))
	err := fmt.Errorf("%w: sessions with an older version are open at the target (%d): %s", why, len(open), strings.Join(named, ", "))
	return &drainError{open: &events.InUse{Total: len(open), Sessions: open[:min(len(open), maxNamed)]}, err: err}
}

// quiet returns an error unless no session has been seen, and the last use has stayed the
// same, for the whole window. The clocks of the target and of this worker may differ, so
// that a use is later than the window only by comparison with an earlier answer.
func quiet(order events.Data, side targetSide, window time.Duration, now time.Time) error {
	since, used := order.Retry.QuietSince, side.lastUsed()
	if since.IsZero() || since.After(now) || used.After(order.Retry.LastUsed) {
		since = now
	}
	left := window - now.Sub(since)
	if left <= 0 {
		return nil
	}
	err := fmt.Errorf("%w: no session with an older version has been open at the target for %s, of %s", errBlocked, now.Sub(since).Round(time.Second), window)
	return stepError{stepDrain, events.RetryAfter(&drainError{quietSince: since, lastUsed: used, err: err}, min(left, drainRetry(window)))}
}

// inUse asks for the use of a credential.
func (r *Rotator) inUse(ctx context.Context, in target.Inspector, ref target.Ref) (target.Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.TargetTimeout)
	defer cancel()
	return in.InUse(ctx, ref)
}

// clients returns the clients that use a credential, or did so after a time.
func clients(v secret.VersionID, u target.Usage, after time.Time) []events.Blocker {
	var out []events.Blocker
	for _, s := range u.Sessions {
		detail := "since " + s.Since.UTC().Format(time.RFC3339)
		if s.Program != "" {
			detail = s.Program + ", " + detail
		}
		out = append(out, events.Blocker{Instance: s.Client, VersionID: v, Reason: events.BlockInUse, Detail: detail})
	}
	if u.LastUsed.After(after) {
		out = append(out, events.Blocker{VersionID: v, Reason: events.BlockInUse, Detail: "last used " + u.LastUsed.UTC().Format(time.RFC3339)})
	}
	return out
}
