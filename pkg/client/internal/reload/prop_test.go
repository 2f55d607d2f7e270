package reload_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/client/internal/reload"
	"github.com/tradepulse/rotator/pkg/secret"
)

// maxEffects bounds the effects of one event.
const maxEffects = 6

var versions = []secret.VersionID{"v1", "v2", "v3", "v4"}

// world feeds a machine with random events, and checks what every shell and
// every hook may rely on.
type world struct {
	s       reload.State
	rules   reload.Rules
	now     time.Time
	due     time.Time
	pending *reload.Effect            // the effect that has to be answered
	answer  map[secret.VersionID]bool // what hooks said last of a version
	offered map[secret.VersionID]bool // held by hooks, not in use
}

func newWorld(rt *rapid.T) *world {
	second := func(name string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(rt, name)) * time.Second
	}
	return &world{
		now: epoch, answer: map[secret.VersionID]bool{}, offered: map[secret.VersionID]bool{},
		rules: reload.Rules{Margin: second("margin", 400), Lifetime: second("lifetime", 900), Retry: time.Second + second("retry", 10)},
	}
}

func (w *world) end(rt *rapid.T) time.Time {
	if rapid.Bool().Draw(rt, "endless") {
		return time.Time{}
	}
	return w.now.Add(time.Duration(rapid.IntRange(-10, 1000).Draw(rt, "left")) * time.Second)
}

func (w *world) announcement(rt *rapid.T) reload.Announcement {
	age := time.Duration(rapid.IntRange(0, 120).Draw(rt, "age")) * time.Second
	return reload.Announcement{
		Version: rapid.SampledFrom(versions).Draw(rt, "version"), At: w.now.Add(-age), Seq: rapid.Uint64Range(0, 5).Draw(rt, "sequence"),
	}
}

// event returns an answer to the effect that is under way, or something else that
// happens. Answers that no effect asked for are among them.
func (w *world) event(rt *rapid.T) reload.Event {
	kinds := []reload.EventKind{reload.Announced, reload.Staged, reload.Draining, reload.Clock, reload.Polled, reload.RefreshAsked, reload.Started}
	answers := []reload.EventKind{reload.ReadDone, reload.ReadFailed, reload.Prepared, reload.Refused, reload.Committed, reload.CommitFailed}
	if rapid.IntRange(0, 2).Draw(rt, "answer") > 0 {
		kinds = answers
	}
	kind := rapid.SampledFrom(kinds).Draw(rt, "kind")
	var failure reload.Failure
	if kind == reload.ReadFailed || kind == reload.Refused || kind == reload.CommitFailed {
		failure = reload.Failure{Kind: rapid.SampledFrom([]string{"unavailable", "not_found", "no_value"}).Draw(rt, "reason"), Text: "it failed"}
	}
	version := rapid.SampledFrom(versions).Draw(rt, "read")
	if w.pending != nil && w.pending.Staged {
		version = w.pending.Version
	}
	return reload.Event{
		Kind: kind, Announcement: w.announcement(rt), Version: version, Previous: rapid.SampledFrom(versions).Draw(rt, "previous"),
		NotAfter: w.end(rt), Pending: rapid.Bool().Draw(rt, "pending"), Failure: failure,
	}
}

// allowed reports whether the shell may feed e: an answer only to the effect that
// is under way.
func (w *world) allowed(e reload.Event) bool {
	phase := reload.EffectKind("")
	if w.pending != nil {
		phase = w.pending.Kind
	}
	switch e.Kind {
	case reload.ReadDone, reload.ReadFailed:
		return phase == reload.Read
	case reload.Prepared, reload.Refused:
		return phase == reload.Prepare
	case reload.Committed, reload.CommitFailed:
		return phase == reload.Commit
	case reload.Started, reload.Announced, reload.Staged, reload.Draining, reload.Clock, reload.Polled, reload.RefreshAsked:
	}
	return true
}

func (w *world) feed(rt *rapid.T, e reload.Event) {
	before := w.s
	var effects []reload.Effect
	w.s, effects = w.s.Next(w.rules, e, w.now)
	if !w.allowed(e) {
		if len(effects) > 0 {
			rt.Fatalf("%s, which nothing asked for, has the effects %+v", e.Kind, effects)
		}
		return
	}
	if len(effects) > maxEffects {
		rt.Fatalf("%d effects of %s: %+v", len(effects), e.Kind, effects)
	}
	w.learn(e)
	for _, f := range effects {
		w.check(rt, f)
	}
	if w.s.Version != before.Version && e.Kind != reload.Started && !w.answer[w.s.Version] {
		rt.Fatalf("%s is in use, which a hook refused last", w.s.Version)
	}
	if w.s.Status == reload.StatusFailed && !w.s.Busy() && w.due.IsZero() {
		rt.Fatal("it failed, and no retry is scheduled")
	}
}

// learn notes an answer of the hooks, and that an effect was answered.
func (w *world) learn(e reload.Event) {
	if w.pending == nil {
		return
	}
	v := w.pending.Version
	switch e.Kind {
	case reload.Prepared, reload.Refused:
		w.answer[v] = e.Kind == reload.Prepared
		if v != w.s.Version {
			w.offered[v] = true
		}
	case reload.Committed, reload.CommitFailed:
		delete(w.offered, v)
	case reload.ReadDone, reload.ReadFailed:
	case reload.Started, reload.Announced, reload.Staged, reload.Draining, reload.Clock, reload.Polled, reload.RefreshAsked:
		return
	}
	w.pending = nil
}

func (w *world) check(rt *rapid.T, f reload.Effect) {
	switch f.Kind {
	case reload.Read, reload.Prepare, reload.Commit:
		if w.pending != nil {
			rt.Fatalf("%s while %s is under way", f.Kind, w.pending.Kind)
		}
		if f.Kind == reload.Prepare && f.Version != w.s.Version {
			for v := range w.offered {
				if v != f.Version {
					rt.Fatalf("%s is offered while hooks hold %s", f.Version, v)
				}
			}
		}
		w.pending = &f
	case reload.Withdraw:
		if !w.offered[f.Version] {
			rt.Fatalf("%s is withdrawn, which no hook holds", f.Version)
		}
		delete(w.offered, f.Version)
	case reload.Failed:
		if f.Pause <= 0 || f.Pause > reload.MaxRetry {
			rt.Fatalf("the next try is in %s", f.Pause)
		}
	case reload.Schedule:
		w.due = f.At
	case reload.Ends:
		if f.Version != w.s.Version || f.NotAfter.IsZero() {
			rt.Fatalf("version %q ends at %s, and %q is in use", f.Version, f.NotAfter, w.s.Version)
		}
	case reload.Installed, reload.Confirm, reload.Fresh, reload.MarkStale, reload.Drop, reload.NearExpiry, reload.Report:
	}
}

// TestMachinePromises: whatever happens, in whatever order, the version in use is
// one that no hook refused, hooks hold at most one other version, one effect at a
// time is under way, every failure has a retry, and no event has many effects.
func TestMachinePromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		if rapid.Bool().Draw(rt, "started first") {
			w.feed(rt, reload.Event{Kind: reload.Started, Version: "v1", NotAfter: w.end(rt)})
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "passes")) * time.Second)
			w.feed(rt, w.event(rt))
		}
	})
}

// TestMachineRecovers: once the store answers and hooks accept, the version that
// the store calls current is in use within two retries, and nothing is wanted.
func TestMachineRecovers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.feed(rt, reload.Event{Kind: reload.Started, Version: "v1"})
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "passes")) * time.Second)
			w.feed(rt, w.event(rt))
		}
		w.now = w.now.Add(2 * reload.MaxRetry)
		w.feed(rt, reload.Event{Kind: reload.Polled})
		for range 50 {
			e := reload.Event{Kind: reload.Clock}
			if w.pending != nil {
				e = w.good()
			} else {
				w.now = w.now.Add(2 * reload.MaxRetry)
			}
			w.feed(rt, e)
		}
		if w.s.Version != "v4" || w.s.Status == reload.StatusFailed {
			rt.Fatalf("it came to %+v", w.s)
		}
	})
}

// good is the answer of a store whose current version is v4, and of hooks that
// accept it.
func (w *world) good() reload.Event {
	i := slices.Index([]reload.EffectKind{reload.Read, reload.Prepare, reload.Commit}, w.pending.Kind)
	kind := []reload.EventKind{reload.ReadDone, reload.Prepared, reload.Committed}[i]
	e := reload.Event{Kind: kind, Version: "v4"}
	if w.pending.Staged && kind == reload.ReadDone {
		e.Version = w.pending.Version // it is not pending any more
	}
	return e
}
