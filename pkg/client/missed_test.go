package client_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// countedBus counts the answers to reads of the last notification about the key.
type countedBus struct {
	*events.Bus

	answers atomic.Int64
}

func (b *countedBus) LastNotified(ctx context.Context, service string, id secret.ID) (events.Announcement, error) {
	a, err := b.Bus.LastNotified(ctx, service, id)
	if id == key && err == nil {
		b.answers.Add(1)
	}
	return a, err
}

// TestAServerThatLagsBehindIsAskedAgain: after a reconnect a server answers from before
// the rotation that was missed. The process gets it as soon as the server has it, and
// there is no poll that would find the version.
func TestAServerThatLagsBehindIsAskedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.notify(key, r.write(key, "first-value"))
	r.write(token, "first-token")
	l := &line{server: r.server}
	bus := &countedBus{Bus: l.bus(r)}
	m := r.manager(func(c *client.Config) { c.Bus = bus })
	r.eventually("it is reported", func() bool { return r.running().VersionID != "" })
	l.drop()
	r.eventually("the connection is lost", func() bool { return !bus.Connected() })
	r.server.Lag(2)
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	before := bus.answers.Load()
	l.cut.Store(false)
	r.eventually("the server answers from the past", func() bool { return bus.answers.Load() > before })
	if value(m.Secret(key).Get()) != "first-value" {
		t.Fatal("the server does not lag behind")
	}
	for range 2 { // the server has v2 from here on
		r.notify("NOT_HELD", "some-version")
	}
	r.eventually("the missed rotation is picked up", func() bool { return value(m.Secret(key).Get()) == "second-value" })
	r.eventually("it is reported", func() bool { return r.running().VersionID == v2 })
}

// scriptedBus is a Bus whose reads of the last notification the test answers.
type scriptedBus struct {
	hostileBus

	mu     sync.Mutex
	fn     func(context.Context, events.Delivery)
	answer func() (events.Announcement, error)
	looks  int
}

func (b *scriptedBus) SubscribeNotify(_ context.Context, _ string, fn func(context.Context, events.Delivery)) (func(), error) {
	b.fn = fn
	return func() {}, nil
}

func (b *scriptedBus) LastNotified(context.Context, string, secret.ID) (events.Announcement, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks++
	return b.answer()
}

// say sets the answer from now on, and returns how many looks there were before.
func (b *scriptedBus) say(a events.Announcement, err error) (looks int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = func() (events.Announcement, error) { return a, err }
	return b.looks
}

// announcement returns one of a version of the key that the clock of a test wrote last.
func (c *clock) announcement(seq uint64) events.Announcement {
	c.t.Helper()
	meta, err := c.mem.Describe(c.t.Context(), string(key))
	if err != nil {
		c.t.Fatal(err)
	}
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: key, Store: "mem", VersionID: meta.Current().ID, Reason: events.ReasonManual})
	return events.Announcement{Event: e, Seq: seq}
}

// TestALookThatFailsIsRepeated until it succeeds, however long that takes.
func TestALookThatFailsIsRepeated(t *testing.T) {
	bus := &scriptedBus{}
	bus.say(events.Announcement{}, errors.New("no responders"))
	inFakeTime(t, 24*time.Hour, func(cfg *client.Config) { cfg.Bus = bus }, func(c *clock) {
		c.pass(time.Hour)
		c.write()
		if looks := bus.say(c.announcement(1), nil); looks < 40 || looks > 70 {
			t.Errorf("%d looks in an hour of failures, want about one a minute", looks)
		}
		c.pass(2 * time.Minute)
		if value(c.h.Get()) != "value-2" {
			t.Error("what was missed is not in use after the failures")
		}
		looks := bus.say(c.announcement(1), nil)
		c.pass(time.Hour)
		if more := bus.say(events.Announcement{}, nil) - looks; more != 0 {
			t.Errorf("%d looks after one that succeeded", more)
		}
	})
}

// TestAnAnswerOlderThanWhatWasHeardIsAskedForAgain: the process has heard a later
// notification than the one that a server answers with, so the server lags behind.
func TestAnAnswerOlderThanWhatWasHeardIsAskedForAgain(t *testing.T) {
	bus := &scriptedBus{}
	bus.say(events.Announcement{}, nil)
	inFakeTime(t, 24*time.Hour, func(cfg *client.Config) { cfg.Bus = bus }, func(c *clock) {
		old := c.announcement(3)
		c.pass(time.Second)
		c.write()
		heard := c.announcement(5)
		bus.fn(c.t.Context(), events.Delivery{Event: heard.Event, Seq: heard.Seq})
		looks := bus.say(old, nil)
		c.pass(10 * time.Minute)
		c.write()
		if now := bus.say(c.announcement(7), nil); now-looks < 8 {
			t.Errorf("a server that certainly lags behind was asked %d times in ten minutes", now-looks)
		}
		c.pass(2 * time.Minute)
		if value(c.h.Get()) != "value-3" {
			t.Error("what was missed is not in use although the server has caught up")
		}
	})
}
