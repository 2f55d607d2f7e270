package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
)

// checkers are the users of the key that check at use, by name: each uses it once.
func (c *clock) checkers() map[string]func() error {
	c.t.Helper()
	fail := func(err error) {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	ctx := c.t.Context()
	a, err := client.NewTokenAuthenticator(ctx, c.m, key, "admin", 0)
	fail(err)
	live, err := client.NewKeyring(ctx, c.m, key, client.KeysAcceptLive, 0)
	fail(err)
	server := &database{}
	server.password.Store(new("value-1"))
	con := client.NewConnector(c.m, key, server, func(v secret.Value) (string, error) { return "user:" + string(v.Reveal()), nil })
	tr, err := client.NewBearerTransport(c.m, key, "https://api.example.com", roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	fail(err)
	v := c.h.Get().Version.ID
	return map[string]func() error{
		"authenticator": func() error { _, err := a.Check(ctx, "value-1"); return err },
		"signing":       func() error { _, err := live.Current(ctx); return err },
		"accepting":     func() error { _, err := live.Key(ctx, v); return err },
		"connector":     func() error { _, err := con.Connect(ctx); return err },
		"transport": func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/", http.NoBody)
			fail(err)
			resp, err := tr.RoundTrip(req)
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		},
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestUsersThatCheckRefusePastTheFence: within it they work while the store is down,
// past it they ask the store first, and refuse if it does not answer.
func TestUsersThatCheckRefusePastTheFence(t *testing.T) {
	inFakeTime(t, 0, func(c *client.Config) { c.Fence = time.Hour }, func(c *clock) {
		all := c.checkers()
		begin := time.Now()
		c.down.Store(true)
		c.pass(59 * time.Minute)
		for name, use := range all {
			if err := use(); err != nil {
				t.Errorf("%s: within the fence: %v", name, err)
			}
		}
		c.pass(2 * time.Minute)
		for name, use := range all {
			err := use()
			fenced, is := errors.AsType[*client.FenceError](err)
			if !is || !errors.Is(err, client.ErrFence) || fenced.ID != key || fenced.VersionID != c.h.Get().Version.ID || !fenced.Since.Equal(begin) {
				t.Errorf("%s: past the fence: %v", name, err)
				continue
			}
			for _, want := range []string{string(key), begin.UTC().Format(time.RFC3339), "its fence is 1h0m0s", "reach the store or the bus", "the store is down"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: the error does not say %q: %v", name, want, err)
				}
			}
		}
		if n := c.metric("secret.fenced"); n != int64(len(all)) || strings.Count(c.log.String(), "msg=secret.fenced") != 1 {
			t.Errorf("%d refusals are counted, and logged %d times", n, strings.Count(c.log.String(), "msg=secret.fenced"))
		}
		c.down.Store(false)
		c.pass(time.Minute) // and no timer: the first use reads the store
		for name, use := range all {
			if err := use(); err != nil {
				t.Errorf("%s: the store is back: %v", name, err)
			}
		}
	})
}

// TestAUseReadsTheStorePastTheFence: a process without a bus that does not poll goes
// on as long as the store confirms its version.
func TestAUseReadsTheStorePastTheFence(t *testing.T) {
	inFakeTime(t, 0, func(c *client.Config) { c.Fence = time.Hour }, func(c *clock) {
		a, err := client.NewTokenAuthenticator(c.t.Context(), c.m, key, "admin", 0)
		if err != nil {
			t.Fatal(err)
		}
		c.pass(59 * time.Minute)
		reads := c.reads.Load()
		if !accepted(c.t, a, "value-1") || c.reads.Load() != reads {
			t.Errorf("within the fence a use costs %d reads", c.reads.Load()-reads)
		}
		c.pass(2 * time.Minute)
		if !accepted(c.t, a, "value-1") || c.reads.Load() != reads+1 {
			t.Errorf("past the fence a use costs %d reads, want one", c.reads.Load()-reads)
		}
		c.pass(30 * time.Minute)
		c.write()
		if !accepted(c.t, a, "value-1") {
			t.Error("the read did not confirm the version")
		}
		c.pass(31 * time.Minute)
		if accepted(c.t, a, "value-1") || !accepted(c.t, a, "value-2") {
			t.Error("past the fence the use does not bring the version that is current")
		}
	})
}

// TestAReadConfirmsNothingWhileAHookRefuses the version that the store calls current.
func TestAReadConfirmsNothingWhileAHookRefuses(t *testing.T) {
	inFakeTime(t, 0, func(c *client.Config) { c.Fence, c.PollInterval = time.Hour, time.Minute }, func(c *clock) {
		a, err := client.NewTokenAuthenticator(c.t.Context(), c.m, key, "admin", 0)
		if err != nil {
			t.Fatal(err)
		}
		var broken atomic.Bool
		broken.Store(true)
		_, err = c.m.Subscribe(c.t.Context(), key, func(_ context.Context, ch client.Change) error {
			if string(ch.Value.Reveal()) == "value-2" && broken.Load() {
				return errors.New("not this one")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		c.pass(90 * time.Minute)
		if !accepted(c.t, a, "value-1") {
			t.Error("a version that is polled is not confirmed")
		}
		c.write()
		c.pass(58 * time.Minute)
		if !accepted(c.t, a, "value-1") {
			t.Error("it is refused within the fence")
		}
		c.pass(5 * time.Minute)
		if use, err := a.Check(c.t.Context(), "value-1"); use.Accepted() || !errors.Is(err, client.ErrFence) {
			t.Errorf("a version that the store does not call current is %s, err %v", use, err)
		}
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		req.Header.Set("Authorization", "Bearer value-1")
		if a.Middleware(http.NotFoundHandler()).ServeHTTP(w, req); w.Code != http.StatusServiceUnavailable {
			t.Errorf("past the fence a request is answered %d", w.Code)
		}
		broken.Store(false)
		c.pass(time.Minute)
		if !accepted(c.t, a, "value-2") {
			t.Error("it does not recover")
		}
	})
}
