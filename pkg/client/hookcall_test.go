package client_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
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
