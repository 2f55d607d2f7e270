package client

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/client/internal/reload"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// loop is the safety net beside the notifications: it polls the store, feeds the
// deadlines of the reload machines, and reads the last notifications after the
// connection came back. One goroutine does it for all secrets, so nothing in it
// waits for a store, a bus or a hook.
func (m *Manager) loop() {
	reconnected, release := m.reconnects()
	defer release()
	poll := time.NewTimer(m.pollIn(0))
	defer poll.Stop()
	deadline := time.NewTimer(m.untilDeadline())
	defer deadline.Stop()
	observe := time.NewTicker(observeEvery)
	defer observe.Stop()
	m.catchUp()
	for polls := 0; ; {
		select {
		case <-m.work.Done():
			return
		case <-reconnected:
			m.catchUp()
			m.renew()
		case <-poll.C:
			parts := m.members.Load().parts
			m.poll(parts[polls%len(parts)])
			polls++
			poll.Reset(m.pollIn(polls))
		case <-m.wake:
			deadline.Reset(m.untilDeadline())
		case <-deadline.C:
			m.checkDeadlines(time.Now())
			deadline.Reset(m.untilDeadline())
		case <-observe.C:
			m.observe(m.work)
		}
	}
}

// poll begins to read a part of the secrets. It does not wait for the reads.
func (m *Manager) poll(part []secret.ID) {
	for _, id := range part {
		e, ok := m.find(id)
		if !ok {
			continue // it was dropped, or is not loaded yet
		}
		e.start(e.feed(m.work, reload.Event{Kind: reload.Polled}, loaded{}))
	}
}

// maxParts bounds into how many parts a poll is spread over its interval, so
// that many secrets are not asked for at once.
const maxParts = 64

// inParts returns the secrets in the order and the parts in which they are
// polled.
func inParts(ids []secret.ID) [][]secret.ID {
	size := (len(ids) + maxParts - 1) / maxParts
	return slices.Collect(slices.Chunk(ids, size))
}

// pollIn returns the time to the next part of a poll: its share of the interval
// less up to a tenth, different for each instance.
func (m *Manager) pollIn(n int) time.Duration {
	if m.cfg.PollInterval < 0 {
		return 1<<63 - 1
	}
	part := m.cfg.PollInterval / time.Duration(len(m.members.Load().parts))
	spread := secret.Spread(secret.ID(m.cfg.Instance), "poll "+string(rune('a'+n%26)))
	return part - time.Duration(spread*float64(part)/10)
}

// leastWait is the least time between two checks of all deadlines.
const leastWait = 20 * time.Millisecond

// rouse makes the loop compute the next deadline again. It does not block.
func (m *Manager) rouse() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// checkDeadlines feeds the clock to the secrets whose deadline has passed.
func (m *Manager) checkDeadlines(now time.Time) {
	for _, e := range m.entries() {
		if at := e.due.Load(); at != 0 && at <= now.UnixNano() {
			e.start(e.feed(m.work, reload.Event{Kind: reload.Clock}, loaded{}))
		}
	}
}

// untilDeadline returns the time to the next deadline, at least leastWait and at most a
// minute, in case the wall clock is set.
func (m *Manager) untilDeadline() time.Duration {
	next := time.Minute
	now := time.Now().UnixNano()
	for _, e := range m.entries() {
		if at := e.due.Load(); at != 0 {
			next = min(next, max(time.Duration(at-now), leastWait))
		}
	}
	return next
}

// each calls f for every secret, some at a time, and waits.
func (m *Manager) each(f func(*entry)) {
	ids := make(chan secret.ID)
	var wg sync.WaitGroup
	now := m.members.Load()
	for range min(maxReloads, len(now.ids)) {
		wg.Go(func() {
			for id := range ids {
				f(now.entries[id])
			}
		})
	}
	for _, id := range now.ids {
		ids <- id
	}
	close(ids)
	wg.Wait()
}

// catchUp reads the last notification about every secret, in the background: what
// was announced while this process had no connection. When that is under way it
// begins once more afterwards. It does nothing without a bus.
func (m *Manager) catchUp() {
	if m.cfg.Bus == nil || m.catching.Add(1) > 1 {
		return
	}
	m.wg.Go(func() {
		for {
			asked := m.catching.Load()
			m.each(m.missed)
			if m.catching.CompareAndSwap(asked, 0) {
				return
			}
		}
	})
}

// missed reads the last notification about a secret. A bus that panics has failed.
func (m *Manager) missed(e *entry) {
	if m.work.Err() == nil {
		m.ended("bus", func() { m.lastNotified(e) })
	}
}

// lastNotified feeds the last notification about a secret, if there is one. A read
// that fails is not repeated: the poll finds the version.
func (m *Manager) lastNotified(e *entry) {
	a, err := m.cfg.Bus.LastNotified(m.work, m.cfg.Service, e.id)
	if err != nil {
		m.log.LogAttrs(m.work, slog.LevelDebug, "secret.last_notified", slog.String("secret_id", string(e.id)), slog.String("error", err.Error()))
		return
	}
	if a.Seq != 0 {
		m.notified(trace.ContextWithRemoteSpanContext(m.work, a.Trace), events.Delivery{Event: a.Event, Seq: a.Seq})
	}
}

// reconnects returns a channel that receives after the bus has reconnected, and a
// function that ends this. The channel is nil for a bus that cannot tell.
func (m *Manager) reconnects() (<-chan struct{}, func()) {
	bus, ok := m.cfg.Bus.(interface {
		OnReconnect(context.Context, func())
	})
	if !ok {
		return nil, func() {}
	}
	ch := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(m.work)
	bus.OnReconnect(ctx, func() {
		select {
		case ch <- struct{}{}:
		default:
		}
	})
	return ch, cancel
}
