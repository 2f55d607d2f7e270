package client_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAHookThatHangs: a hook that does not return fails the reload, with a line in the
// log, and is not called again before it has returned. What it took then is known.
func TestAHookThatHangs(t *testing.T) {
	t.Parallel()
	inFakeTime(t, time.Hour, func(c *client.Config) { c.HookTimeout = 10 * time.Second }, func(c *clock) {
		var hang atomic.Bool
		var calls, busy atomic.Int64
		release := make(chan struct{})
		stop, err := c.m.Subscribe(c.t.Context(), key, func(context.Context, client.Change) error {
			calls.Add(1)
			if busy.Add(1) > 1 {
				c.t.Error("the hook is called while it is called")
			}
			defer busy.Add(-1)
			if hang.Load() {
				<-release
			}
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
		defer stop()
		v1 := c.h.Get().Version.ID
		hang.Store(true)
		c.write()
		ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
		defer cancel()
		if err := c.m.Refresh(ctx, key); err == nil || !strings.Contains(err.Error(), "did not return in time") {
			c.t.Errorf("the reload fails with %v", err)
		}
		if !strings.Contains(c.log.String(), "secret.reload.failed") {
			c.t.Error("the log does not say that the reload failed")
		}
		time.Sleep(5 * time.Minute)
		if n := calls.Load(); n != 2 || c.h.Get().Version.ID != v1 {
			c.t.Errorf("%d calls, and version %s is in use", n, c.h.Get().Version.ID)
		}
		hang.Store(false)
		close(release)
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		if c.h.Get().Version.ID == v1 {
			c.t.Error("the version is not in use although the hook has taken it")
		}
	})
}

// stubborn is a hook of two steps. Its Commit of the value fails panics, and its Commit
// of the value hangs waits until the test goes on.
type stubborn struct {
	fails, hangs atomic.Value
	goOn         chan struct{}
	commits      atomic.Int64
}

func (*stubborn) Prepare(context.Context, client.Change) error { return nil }
func (*stubborn) Withdraw(secret.VersionID)                    {}

func (h *stubborn) Commit(_ context.Context, c client.Change) {
	switch string(c.Value.Reveal()) {
	case h.fails.Load():
		panic("cannot be taken")
	case h.hangs.Load():
		<-h.goOn
	}
	h.commits.Add(1)
}

// TestACommitThatFailsIsNoConsent: the process reports that it still uses the version
// before, so that it is not retired, until the hook has committed the new one.
func TestACommitThatFailsIsNoConsent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	m := r.manager(func(c *client.Config) {
		c.IDs, c.HookTimeout, c.Retry = []secret.ID{key}, time.Second, 10*time.Millisecond
	})
	h := &stubborn{goOn: make(chan struct{})}
	h.fails.Store("second-value")
	h.hangs.Store("third-value")
	stop, err := m.SubscribeTwoPhase(t.Context(), key, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	rotate := func(value string) secret.VersionID {
		v := r.write(key, value)
		r.notify(key, v)
		return v
	}
	still := func(v, before secret.VersionID) func(events.User) bool {
		return func(u events.User) bool {
			return u.Use.VersionID == v && u.Use.Status == events.StatusFailed && u.Use.Wanted == v && slices.Contains(u.Use.Accepts, before)
		}
	}
	only := func(v secret.VersionID) func(events.User) bool {
		return func(u events.User) bool {
			return u.Use.VersionID == v && u.Use.Status == events.StatusApplied && u.Use.Accepts != nil && len(u.Use.Accepts) == 0
		}
	}
	v2 := rotate("second-value")
	r.use("a commit that panicked", key, still(v2, v1))
	h.fails.Store("")
	r.use("the commit that followed", key, only(v2))
	v3 := rotate("third-value")
	r.use("a commit that hangs", key, still(v3, v2))
	close(h.goOn)
	r.use("the commit that followed it", key, only(v3))
	if n := h.commits.Load(); n != 4 { // the one that returned too late among them
		t.Errorf("%d commits", n)
	}
}

// TestAHookThatTakesAVersionTooLate: the version stays on record while the hook may take
// it, and the hook gets the one in use again if the store has called that current since.
func TestAHookThatTakesAVersionTooLate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	back := &rolledBack{Source: r.source}
	m := r.manager(func(c *client.Config) {
		c.Source, c.IDs, c.HookTimeout, c.Retry = back, []secret.ID{key}, 10*time.Millisecond, 10*time.Millisecond
	})
	var uses atomic.Value
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	stop, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		uses.Store(c.Version.ID)
		if c.Version.ID != v1 {
			<-release
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	t.Cleanup(let)
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	holds := func(wanted secret.VersionID) func(events.User) bool {
		return func(u events.User) bool {
			return u.Use.VersionID == v1 && u.Use.Status == events.StatusFailed && u.Use.Wanted == wanted && slices.Contains(u.Use.Accepts, v2)
		}
	}
	r.use("the hook hangs", key, holds(v2))
	back.to.Store(&v1)
	r.notify(key, v1)
	r.use("the hook hangs, and the version in use is current again", key, holds(v1))
	let()
	r.use("the hook has returned, and has the version in use again", key, func(u events.User) bool {
		return u.Use.VersionID == v1 && u.Use.Status == events.StatusApplied && u.Use.Accepts != nil && len(u.Use.Accepts) == 0
	})
	if uses.Load() != v1 {
		t.Errorf("the hook uses %s", uses.Load())
	}
}
