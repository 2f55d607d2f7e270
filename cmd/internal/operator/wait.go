package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// WaitState is what a command waits for.
type WaitState string

// What a command may wait for.
const (
	// WaitNone only asks.
	WaitNone WaitState = "none"
	// WaitRotated: the new version is announced.
	WaitRotated WaitState = "rotated"
	// WaitConverged: every instance runs it.
	WaitConverged WaitState = "converged"
	// WaitRetired: the version before it is dead, or there was none.
	WaitRetired WaitState = "retired"
)

// WaitStates are all of them.
var WaitStates = []WaitState{WaitNone, WaitRotated, WaitConverged, WaitRetired}

// Wait is what a command waits for, and how long. It is a flag.
type Wait struct {
	For     WaitState
	Timeout time.Duration
}

// String implements pflag.Value.
func (w *Wait) String() string { return string(w.For) }

// Set implements pflag.Value. A duration, as the flag took once, is the timeout for the
// new version, and 0 waits for nothing.
func (w *Wait) Set(text string) error {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		w.For, w.Timeout = WaitRotated, d
		if d == 0 {
			w.For = WaitNone
		}
		return nil
	}
	if !slices.Contains(WaitStates, WaitState(text)) {
		return fmt.Errorf("%q: want none, rotated, converged or retired", text)
	}
	w.For = WaitState(text)
	return nil
}

// Type implements pflag.Value.
func (*Wait) Type() string { return "state" }

// converged reports whether a rollout is as far as converged, and not back.
func converged(r *events.Rollout) bool {
	return r != nil && (r.State == events.RolloutConverged || r.State == events.RolloutDraining || r.State == events.RolloutRetired)
}

// reached reports whether the rollout that d describes is where w waits for it.
func (w *Wait) reached(d events.Data) bool {
	switch {
	case w.For == WaitNone, w.For == WaitRotated:
		return true
	case w.For == WaitConverged:
		return converged(d.Rollout)
	default:
		return d.Rollout != nil && (d.Rollout.State == events.RolloutRetired || d.Rollout.State == events.RolloutConverged && d.PreviousVersionID == "")
	}
}

// following is what is known of rollouts while they are waited for.
type following struct {
	wait Wait
	want map[secret.ID]secret.VersionID // :: secret → its version, "" for the latest
	roll map[secret.ID]events.Data      // :: secret → its last rollout
	done map[secret.ID]bool
	say  func(string, ...any)
}

var errReached = errors.New("every rollout is there")

// rollouts waits until the rollouts of some versions are where w waits for them. A ""
// version is the latest. say is called with what changes.
func (w *Wait) rollouts(ctx context.Context, bus *events.Bus, want map[secret.ID]secret.VersionID, say func(string, ...any)) error {
	if w.For == WaitNone || w.For == WaitRotated || len(want) == 0 {
		return nil
	}
	f := following{wait: *w, want: want, roll: map[secret.ID]events.Data{}, done: map[secret.ID]bool{}, say: say}
	last := map[secret.ID]secret.VersionID{}
	maps.Copy(last, want)
	inner, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	err := bus.WatchLog(inner, []events.Type{events.TypeRotated, events.TypeRollout}, func(_ context.Context, a events.Announcement) error {
		d := a.Event.Data
		asked, ok := want[d.SecretID]
		switch {
		case !ok:
			return nil
		case a.Event.Type == events.TypeRotated && asked == "":
			last[d.SecretID] = d.VersionID
		case a.Event.Type == events.TypeRollout:
			f.roll[d.SecretID] = d
		}
		return f.check(d.SecretID, last[d.SecretID])
	}, nil)
	switch {
	case errors.Is(err, errReached):
		return nil
	case err != nil:
		return err
	default:
		return f.late(ctx, last)
	}
}

// check returns errReached once every rollout is there, and an error when one never can
// be.
func (f following) check(id secret.ID, v secret.VersionID) error {
	d := f.roll[id]
	if d.VersionID != v || d.Rollout == nil {
		return nil
	}
	switch state := d.Rollout.State; {
	case f.want[id] != "" && (state == events.RolloutSuperseded || state == events.RolloutRolledBack):
		return fmt.Errorf("%s: the rollout of version %s is %s and never gets there; 'rotator history %s' says why", id, v, state, id)
	case f.wait.reached(d):
		if !f.done[id] {
			f.say("%s: %s", id, inspect.RolloutLine(d))
		}
		f.done[id] = true
	default:
		f.say("%s: %s", id, inspect.RolloutLine(d))
		f.done[id] = false
	}
	for id := range f.want {
		if !f.done[id] {
			return nil
		}
	}
	return errReached
}

// late says which rollouts are not there in time, and why.
func (f following) late(ctx context.Context, last map[secret.ID]secret.VersionID) error {
	if ctx.Err() != nil {
		return errors.New("interrupted; the rollouts go on")
	}
	var out []string
	for _, id := range slices.Sorted(maps.Keys(f.want)) {
		if f.done[id] {
			continue
		}
		line := "its rollout has not begun"
		if d := f.roll[id]; d.Rollout != nil && d.VersionID == last[id] {
			line = inspect.RolloutLine(d)
		}
		out = append(out, fmt.Sprintf("%s: %s", id, line))
	}
	return fmt.Errorf("not %s within %s: %s; 'rotator explain ID' says what to do", f.wait.For, f.wait.Timeout, strings.Join(out, "; "))
}

// WaitFor waits until the rollout of the latest version of each secret is where w waits
// for it.
func (w *Wait) WaitFor(ctx context.Context, bus *events.Bus, ids []secret.ID, say func(string, ...any)) error {
	want := map[secret.ID]secret.VersionID{}
	for _, id := range ids {
		want[id] = ""
	}
	return w.rollouts(ctx, bus, want, say)
}
