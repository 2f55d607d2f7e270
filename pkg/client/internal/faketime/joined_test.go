//go:build !race

package faketime_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// onTheBus runs f with a server and a store in fake time. These tests do not run in
// parallel, see pkg/notify.
func onTheBus(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	runtime.GC()
	runtime.GC()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.write(key, "first-value")
		r.write(token, "first-token")
		f(t, r)
	})
}

// TestARenewalConfirmsWhileTheStoreIsDown, and nothing does once the bus is down too.
func TestARenewalConfirmsWhileTheStoreIsDown(t *testing.T) {
	onTheBus(t, func(t *testing.T, r *rig) {
		m := r.manager(func(c *client.Config) { c.Fence = 5 * time.Minute })
		a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", 0)
		if err != nil {
			t.Fatal(err)
		}
		r.down.Store(true)
		time.Sleep(12 * time.Minute)
		if !accepted(t, a, "first-token") {
			t.Error("a version whose use is renewed is refused")
		}
		r.server.Stop()
		time.Sleep(4 * time.Minute)
		if !accepted(t, a, "first-token") {
			t.Error("it is refused within the fence")
		}
		time.Sleep(90 * time.Second)
		if use, err := a.Check(t.Context(), "first-token"); use.Accepted() || !errors.Is(err, client.ErrFence) {
			t.Errorf("a fence after the last renewal it is %s, err %v", use, err)
		}
		r.server.Start()
		r.eventually("the bus is back", func() bool { return r.bus.Connected() })
		time.Sleep(2 * client.DefaultLease)
		if use, err := a.Check(t.Context(), "first-token"); use.Accepted() || !errors.Is(err, client.ErrFence) {
			t.Errorf("a renewal confirms what has run out: it is %s, err %v", use, err)
		}
		r.down.Store(false)
		time.Sleep(2 * time.Second)
		if !accepted(t, a, "first-token") {
			t.Error("the store confirms it, and it is refused")
		}
	})
}

// TestAFenceShorterThanALeaseIsExtended: only renewals confirm the token before the
// one in use, so they come more often than the fence ends.
func TestAFenceShorterThanALeaseIsExtended(t *testing.T) {
	onTheBus(t, func(t *testing.T, r *rig) {
		m := r.manager(func(c *client.Config) { c.Fence, c.CheckedAtUse = 6*time.Second, []secret.ID{token} })
		a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		v := r.write(token, "second-token")
		r.notify(token, v)
		r.use("the second token is in use", token, func(u events.User) bool { return u.Use.VersionID == v && len(u.Use.Accepts) == 1 })
		r.down.Store(true)
		for range 20 {
			time.Sleep(time.Second)
			if !accepted(t, a, "first-token") || !accepted(t, a, "second-token") {
				t.Fatal("a token is refused while its use is renewed")
			}
		}
	})
}

// TestAStartWaitsForTheBus: for a minute unless every secret is checked at use, and
// without limit where that is required.
func TestAStartWaitsForTheBus(t *testing.T) {
	onTheBus(t, func(t *testing.T, r *rig) {
		r.server.Stop()
		r.eventually("the bus is down", func() bool { return !r.bus.Connected() })
		begin := time.Now()
		m := r.manager(func(c *client.Config) { c.CheckedAtUse = c.IDs })
		if d := time.Since(begin); d > time.Second {
			t.Errorf("a process that checks at use waited %s", d)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		_, err := client.New(ctx, client.Config{Service: "api", Source: r.source, IDs: []secret.ID{key}, Bus: r.bus, Join: client.JoinRequired, Logger: quiet})
		if d := time.Since(begin); err == nil || !strings.Contains(err.Error(), "join the bus") || d < 3*time.Minute {
			t.Errorf("after %s of a required bus: err %v", d, err)
		}
		begin = time.Now()
		var log waittest.Buffer
		r.manager(func(c *client.Config) { c.Instance, c.Logger = "late", slog.New(slog.NewTextHandler(&log, nil)) })
		if d := time.Since(begin); d < time.Minute || d > 2*time.Minute || !strings.Contains(log.String(), "level=ERROR msg=secret.not_joined") {
			t.Errorf("it waited %s and logged %s", d, log.String())
		}
		r.server.Start()
		u := r.use("it is on record late", key, func(u events.User) bool { return u.Use.VersionID != "" && !u.RenewedAt.IsZero() })
		if u.Use.Joined || u.Presence.StartedAt.After(begin) {
			t.Errorf("on record is %+v", u)
		}
		v := r.write(key, "second-value")
		r.notify(key, v)
		r.use("the next version was read after the record", key, func(u events.User) bool { return u.Use.VersionID == v && u.Use.Joined })
	})
}

// TestAStagedTokenThatWasGivenUpIsRefused, although nothing announces that.
func TestAStagedTokenThatWasGivenUpIsRefused(t *testing.T) {
	onTheBus(t, func(t *testing.T, r *rig) {
		m := r.manager(nil)
		a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		w := store.Write{Token: "next", From: m.Secret(token).Get().Version.ID, Value: secret.NewValue([]byte("next-token"))}
		next, err := r.mem.Put(t.Context(), string(token), w)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		e := events.Event{ID: "next", Type: events.TypeStaged, Source: "/test", Time: now, Data: events.Data{SecretID: token, VersionID: next.ID, OccurredAt: now}}
		if err := r.bus.Notify(t.Context(), "api", e, 1); err != nil {
			t.Fatal(err)
		}
		r.eventually("the staged token is accepted", func() bool { return accepted(t, a, "next-token") })
		time.Sleep(5 * time.Minute)
		if !accepted(t, a, "next-token") {
			t.Error("a staged token is refused while it is pending")
		}
		if err := r.mem.Retire(t.Context(), string(token), next.ID, secret.RetireDestroy); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if use, err := a.Check(t.Context(), "next-token"); use != client.TokenRetired || err != nil {
			t.Errorf("a token that was never promoted and is destroyed is %s, err %v", use, err)
		}
		r.use("it is not on record any more", token, func(u events.User) bool { return len(u.Use.Accepts) == 0 && u.Use.Wanted == "" })
	})
}
