package client

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/client/internal/reload"
	"github.com/tradepulse/rotator/pkg/secret"
)

// loop is the safety net beside the notifications: it polls the store, feeds the
// deadlines of the reload machines, and has the last notifications read after the
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
func (m *Manager) each(f func(*entry)) { m.eachOf(m.members.Load().ids, f) }

// eachOf calls f for those of the secrets that the Manager holds now, some at a time,
// and waits.
func (m *Manager) eachOf(ids []secret.ID, f func(*entry)) {
	todo := make(chan *entry)
	var wg sync.WaitGroup
	for range min(maxReloads, len(ids)) {
		wg.Go(func() {
			for e := range todo {
				f(e)
			}
		})
	}
	now := m.entries()
	for _, id := range ids {
		if e, ok := now[id]; ok {
			todo <- e
		}
	}
	close(todo)
	wg.Wait()
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
