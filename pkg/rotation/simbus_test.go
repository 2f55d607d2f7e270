package rotation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// simBus is the model of the bus: a log per secret, one timer, a queue.
type simBus struct {
	w       *world
	seq     uint64
	last    map[events.Type]events.Announcement
	rotated []secret.VersionID // :: every announcement ever, also of logs that were lost
	timers  []simTimer
	queue   []events.Delivery
	delayed []events.Delivery // come back after the timer
	forgot  bool

	unreadable bool // the log, for now
}

type simTimer struct {
	at time.Time
	e  events.Event
}

func (b *simBus) Last(_ context.Context, t events.Type, _ secret.ID) (events.Announcement, error) {
	if err := b.w.fault("before last"); err != nil {
		return events.Announcement{}, err
	}
	if b.unreadable {
		return events.Announcement{}, ErrNoLog
	}
	return b.last[t], nil
}

func (b *simBus) PublishAfter(_ context.Context, e events.Event, after uint64) (uint64, error) {
	if err := b.w.fault("before publish"); err != nil {
		return 0, err
	}
	if b.last[e.Type].Seq != after {
		return 0, events.ErrConflict
	}
	b.store(e)
	return b.seq, b.w.fault("after publish")
}

func (b *simBus) Publish(_ context.Context, e events.Event) error {
	if err := b.w.fault("before publish"); err != nil {
		return err
	}
	b.store(e)
	return b.w.fault("after publish")
}

func (b *simBus) store(e events.Event) {
	b.seq++
	if b.last == nil {
		b.last = map[events.Type]events.Announcement{}
	}
	b.last[e.Type] = events.Announcement{Event: e, Seq: b.seq}
	if e.Type == events.TypeRotated {
		b.w.say("announced %s", short(e.Data.VersionID))
		b.rotated = append(b.rotated, e.Data.VersionID)
	}
}

func (b *simBus) Arm(_ context.Context, e events.Event, at time.Time) (bool, error) {
	if err := b.w.fault("before arm"); err != nil {
		return false, err
	}
	if len(b.timers) > 0 && b.timers[0].e.Outranks(e) {
		return false, events.ErrOutranked
	}
	b.timers = []simTimer{{at, e}} // one timer a secret
	return true, b.w.fault("after arm")
}

func (b *simBus) Fleet(_ context.Context, id secret.ID) (events.Fleet, error) {
	return events.Fleet{SecretID: id, At: time.Now()}, nil
}

func (b *simBus) Pause(context.Context, secret.ID) (events.Pause, error) {
	return events.Pause{SecretID: simID, Paused: b.w.paused}, b.w.fault("before pause")
}

func (b *simBus) RecordRetirement(context.Context, events.Receipt) error { return nil }

func (b *simBus) armed() bool { return len(b.timers) > 0 }

func (b *simBus) retrying() bool { return len(b.timers) > 0 && b.timers[0].e.Data.Attempt > 0 }

func (b *simBus) next() (time.Time, bool) {
	if len(b.timers) == 0 {
		return time.Time{}, false
	}
	return b.timers[0].at, true
}

// fire moves a due timer to the queue.
func (b *simBus) fire() {
	if at, ok := b.next(); ok && !at.After(time.Now()) {
		b.queue = append(append(b.queue, events.Delivery{Event: b.timers[0].e}), b.delayed...)
		b.timers, b.delayed = nil, nil
	}
}

// forget loses the streams; what was announced stays known
// to the test, so that a second announcement of a version is allowed once.
func (b *simBus) forget() {
	b.w.say("the bus forgets")
	b.timers, b.queue, b.delayed, b.last, b.rotated, b.forgot = nil, nil, nil, nil, nil, true
	b.w.people.leaked = nil
}

func (b *simBus) announcedTimes(v secret.VersionID) int {
	n := 0
	for _, a := range b.rotated {
		if a == v {
			n++
		}
	}
	return n
}

func (b *simBus) quarantined(v secret.VersionID) bool {
	d := b.last[events.TypeRotationFailed].Event.Data
	return d.VersionID == v && d.Failure != nil && d.Failure.Code == events.CodeQuarantined
}

// checkLog holds that no version is announced twice and that announcements
// stand in the order of the promotions.
func (w *world) checkLog() error {
	at := -1
	for _, v := range w.bus.rotated {
		i := slices.Index(w.order, v)
		if i < 0 {
			return fmt.Errorf("%s was announced and never current", v)
		}
		if i <= at {
			return fmt.Errorf("%s was announced twice or out of order", v)
		}
		at = i
	}
	return nil
}

// Confirmations implements Bus: the secrets of a simulation have no consumers.
func (b *simBus) Confirmations(context.Context, secret.ID, []secret.Consumer) (map[string]events.Confirmed, error) {
	return nil, nil
}
