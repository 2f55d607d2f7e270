package client_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestAHeldEntryDelaysNoRetry: a retry whose time comes while a hook holds the
// entry happens when the hook returns.
func TestAHeldEntryDelaysNoRetry(t *testing.T) {
	inFakeTime(t, time.Hour, nil, func(c *clock) {
		c.write()
		c.down.Store(true)
		if err := c.m.Refresh(c.t.Context(), key); err == nil {
			c.t.Fatal("a store that is down was read")
		}
		c.down.Store(false)
		c.pass(4 * time.Second) // the retry is due in one more
		var slow atomic.Bool
		slow.Store(true)
		go func() {
			_, err := c.m.Subscribe(c.t.Context(), key, func(context.Context, client.Change) error {
				if slow.Swap(false) {
					<-time.After(10 * time.Second)
				}
				return nil
			})
			if err != nil {
				c.t.Error(err)
			}
		}()
		c.pass(9 * time.Second)
		if value(c.h.Get()) != "value-1" {
			t.Error("the entry was reloaded while a hook held it")
		}
		c.pass(2 * time.Second)
		if value(c.h.Get()) != "value-2" {
			t.Error("the retry did not happen when the hook returned")
		}
	})
}

// TestADeadlineThatMovesNearerIsKept: a version that ends sooner than the one
// before is attended to at its own time.
func TestADeadlineThatMovesNearerIsKept(t *testing.T) {
	inFakeTime(t, 0, nil, func(c *clock) {
		ctx := c.t.Context()
		c.pass(time.Second) // the loop has decided when to look
		meta, err := c.mem.Describe(ctx, string(key))
		if err != nil {
			c.t.Fatal(err)
		}
		from := meta.Current().ID
		v, err := c.mem.Put(ctx, string(key), store.Write{
			Token: "short", From: from, Value: secret.NewValue([]byte("short")), NotAfter: time.Now().Add(secret.Spec{}.Margin() + 30*time.Second),
		})
		if err == nil {
			err = c.mem.Promote(ctx, string(key), from, v.ID)
		}
		if err == nil {
			err = c.m.Refresh(ctx, key)
		}
		if err != nil {
			c.t.Fatal(err)
		}
		c.pass(29 * time.Second)
		if n := c.metric("secret.near_expiry"); n != 0 {
			t.Errorf("near expiry was said %d times before its time", n)
		}
		c.pass(2 * time.Second)
		if n := c.metric("secret.near_expiry"); n != 1 {
			t.Errorf("near expiry was said %d times at its time, want once", n)
		}
	})
}

// TestACanceledHookIsTriedAgain: a hook whose own context was canceled has
// failed like any other.
func TestACanceledHookIsTriedAgain(t *testing.T) {
	inFakeTime(t, time.Hour, nil, func(c *clock) {
		var broken atomic.Bool
		_, err := c.m.Subscribe(c.t.Context(), key, func(context.Context, client.Change) error {
			if broken.Swap(false) {
				return context.Canceled
			}
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
		c.write()
		broken.Store(true)
		if err := c.m.Refresh(c.t.Context(), key); err == nil {
			t.Error("a version that no hook took counts as applied")
		}
		c.pass(6 * time.Second)
		if value(c.h.Get()) != "value-2" {
			t.Error("it was not tried again")
		}
	})
}

// TestAFailedLookRemembersTheVersion: while the store is down the report still
// says which version could not be taken into use.
func TestAFailedLookRemembersTheVersion(t *testing.T) {
	inFakeTime(t, time.Hour, nil, func(c *clock) {
		var broken atomic.Bool
		_, err := c.m.Subscribe(c.t.Context(), key, func(context.Context, client.Change) error {
			if broken.Load() {
				return errors.New("cannot log in")
			}
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
		c.write()
		broken.Store(true)
		if err := c.m.Refresh(c.t.Context(), key); err == nil {
			c.t.Fatal("a version that no hook took counts as applied")
		}
		wanted := c.m.Report().Secrets[0].Wanted
		c.down.Store(true)
		c.pass(6 * time.Second)
		if s := c.m.Report().Secrets[0]; s.Wanted != wanted || wanted == "" || !strings.Contains(s.Reason, "the store is down") {
			t.Errorf("the report says %+v, want that %s failed because the store is down", s, wanted)
		}
	})
}

// panicky is a Source that panics with a value while it is broken.
type panicky struct {
	client.Source

	broken atomic.Bool
}

func (s *panicky) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	v, val, err := s.Source.Read(ctx, id, sel)
	if s.broken.Load() {
		panic(string(val.Reveal()))
	}
	return v, val, err
}

// TestASourceThatPanicsHasFailed: the version in use stays, the panic is counted
// and logged without what it holds, and the store is asked again.
func TestASourceThatPanicsHasFailed(t *testing.T) {
	source := &panicky{}
	inFakeTime(t, time.Hour, func(cfg *client.Config) { source.Source, cfg.Source = cfg.Source, source }, func(c *clock) {
		c.write()
		source.broken.Store(true)
		if err := c.m.Refresh(c.t.Context(), key); err == nil || value(c.h.Get()) != "value-1" {
			t.Errorf("refresh: %v, in use: %s", err, value(c.h.Get()))
		}
		if c.metric("secret.panics") != 1 || c.metric("secret.reload.failures") != 1 {
			t.Errorf("%d panics and %d failures are counted, want one each", c.metric("secret.panics"), c.metric("secret.reload.failures"))
		}
		if log := c.log.String(); !strings.Contains(log, "panicked with a string") || strings.Contains(log, "value-2") {
			t.Errorf("the log does not say what happened, or shows the value:\n%s", log)
		}
		source.broken.Store(false)
		c.pass(6 * time.Second)
		if value(c.h.Get()) != "value-2" {
			t.Error("the store was not asked again")
		}
	})
}

// hostileBus is a Bus whose calls panic while it is broken.
type hostileBus struct {
	broken  atomic.Bool
	reports atomic.Int64
}

func (b *hostileBus) SubscribeNotify(context.Context, string, func(context.Context, events.Delivery)) (func(), error) {
	return func() {}, nil
}

func (b *hostileBus) LastNotified(context.Context, string, secret.ID) (events.Announcement, error) {
	if b.broken.Load() {
		panic("no notification")
	}
	return events.Announcement{}, nil
}

func (b *hostileBus) Join(context.Context, events.Presence) (uint64, error) {
	if b.broken.Load() {
		panic("no presence")
	}
	return uint64(b.reports.Add(1)), nil
}

func (b *hostileBus) Renew(ctx context.Context, p events.Presence, _ uint64) (uint64, error) {
	return b.Join(ctx, p)
}

func (b *hostileBus) WriteUse(context.Context, events.Use) error {
	if b.broken.Load() {
		panic("no use")
	}
	return nil
}

// TestABusThatPanicsEndsNoLoop: the instance reports again once the bus works,
// and polls meanwhile.
func TestABusThatPanicsEndsNoLoop(t *testing.T) {
	bus := &hostileBus{}
	bus.broken.Store(true)
	inFakeTime(t, time.Hour, func(cfg *client.Config) { cfg.Bus, cfg.PollInterval = bus, time.Minute }, func(c *clock) {
		c.pass(100 * time.Millisecond)
		if n := c.metric("secret.panics"); n < 3 {
			t.Errorf("%d panics are counted, want those of the start, of the report and of the last notification", n)
		}
		if !strings.Contains(c.log.String(), "level=ERROR msg=secret.not_joined") {
			t.Error("the log does not say that the process has not joined")
		}
		c.write()
		c.pass(time.Minute)
		if value(c.h.Get()) != "value-2" {
			t.Error("the store is polled no more")
		}
		bus.broken.Store(false)
		c.pass(client.DefaultLease)
		if bus.reports.Load() == 0 {
			t.Error("nothing is reported any more")
		}
	})
}
