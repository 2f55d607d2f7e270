package client

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// loop is the safety net beside the notifications: it asks the store slowly,
// again after a failure, before a version ends, and after the connection came
// back. One goroutine does it for all secrets.
func (m *Manager) loop() {
	reconnected, release := m.reconnects()
	defer release()
	poll := time.NewTimer(m.pollIn(0))
	defer poll.Stop()
	look := time.NewTimer(m.lookIn())
	defer look.Stop()
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
			for _, id := range m.parts[polls%len(m.parts)] {
				m.reload(m.work, m.entries[id], events.Event{})
			}
			polls++
			poll.Reset(m.pollIn(polls))
		case <-m.wake:
			look.Reset(m.lookIn())
		case <-look.C:
			m.look(time.Now())
			look.Reset(m.lookIn())
		case <-observe.C:
			m.observe(m.work)
		}
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
	part := m.cfg.PollInterval / time.Duration(len(m.parts))
	spread := secret.Spread(secret.ID(m.cfg.Instance), "poll "+string(rune('a'+n%26)))
	return part - time.Duration(spread*float64(part)/10)
}

// leastLook bounds how often the secrets are looked at.
const leastLook = 20 * time.Millisecond

// rouse has the loop compute anew when it looks next.
func (m *Manager) rouse() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// look attends to the secrets whose deadline has come.
func (m *Manager) look(now time.Time) {
	for _, e := range m.entries {
		if at := e.deadline(); at == 0 || at > now.UnixNano() {
			continue
		}
		again, due := e.attend(m.work, now)
		if due && again.Type == events.TypeStaged {
			m.reload(m.work, e, again)
		}
		if due {
			m.reload(m.work, e, events.Event{})
		}
	}
}

// lookIn returns when something has to be looked at: a retry or the end of a
// version.
func (m *Manager) lookIn() time.Duration {
	next := time.Minute
	now := time.Now().UnixNano()
	for _, e := range m.entries {
		if at := e.deadline(); at != 0 {
			next = min(next, max(time.Duration(at-now), leastLook))
		}
	}
	return next
}

// deadline returns when the loop has to attend to the entry, 0 for not in sight.
// An entry that is reloaded, or waits to be, has none: its release wakes the loop.
func (e *entry) deadline() int64 {
	if e.queued.Load() {
		return 0
	}
	return e.due.Load()
}

// attendAt returns when the entry needs attention next, zero for not in sight;
// the caller holds the lock. What passed while the entry was locked is still
// ahead.
func (e *entry) attendAt() time.Time {
	if e.current.Load() == nil {
		return time.Time{}
	}
	at := e.nextTry
	for _, t := range e.moments() {
		if t.After(e.attended) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// moments returns when something becomes of the version in use; the caller holds
// the lock.
func (e *entry) moments() []time.Time {
	c := e.current.Load()
	var out []time.Time
	if !c.NotAfter.IsZero() {
		out = append(out, c.NotAfter.Add(-e.spec.Margin()), c.NotAfter)
	}
	if e.ttl > 0 {
		out = append(out, e.refreshAt(), e.asked.Add(e.ttl))
	}
	if c.Stale && e.m.cfg.MaxStale > 0 {
		out = append(out, e.staleSince().Add(e.m.cfg.MaxStale))
	}
	return out
}

// refreshAt returns when the store is asked again so that the cached lifetime
// does not end: the margin before, or half of a lifetime that is too short for
// that.
func (e *entry) refreshAt() time.Time { return e.asked.Add(max(e.ttl-e.spec.Margin(), e.ttl/2)) }

// staleSince returns when the version in use became stale if the store was not
// asked since, zero for never.
func (e *entry) staleSince() time.Time {
	c := e.current.Load()
	var since time.Time
	if !c.NotAfter.IsZero() && e.asked.Before(c.NotAfter) {
		since = c.NotAfter
	}
	if end := e.asked.Add(e.ttl); e.ttl > 0 && (since.IsZero() || end.Before(since)) {
		since = end
	}
	return since
}

// attend says that a version is near its end, marks one that is stale or
// expired, and reports whether the store should be asked, and because of what.
func (e *entry) attend(ctx context.Context, now time.Time) (again events.Event, due bool) {
	if !e.mu.TryLock() {
		return again, false // it is being reloaded, and its release wakes the loop
	}
	defer e.release()
	e.attended = now
	c := e.current.Load()
	waiting := !e.nextTry.IsZero() && now.Before(e.nextTry)
	due = !e.nextTry.IsZero() && !waiting
	if e.ttl > 0 && !now.Before(e.refreshAt()) && !waiting {
		due = true
	}
	if e.near(ctx, c, now) {
		due = true
	}
	if since := e.staleSince(); !since.IsZero() && !now.Before(since) && e.age(ctx, c, since, now) && !waiting {
		due = true
	}
	if due {
		// The outcome sets it anew. A reload that waits already may find that it
		// has nothing to do, and then there is no outcome.
		again, e.nextTry = e.again, now.Add(max(e.retry, e.m.cfg.Retry))
	}
	return again, due
}

// near says once that a version is near its end, and reports whether it did.
func (e *entry) near(ctx context.Context, c *Current, now time.Time) bool {
	if c.NotAfter.IsZero() || now.Before(c.NotAfter.Add(-e.spec.Margin())) || e.warned == c.Version.ID {
		return false
	}
	e.warned = c.Version.ID
	e.m.meters.near.Add(ctx, 1, metric.WithAttributes(attrID(e.id)))
	e.m.log.LogAttrs(ctx, slog.LevelWarn, "secret.near_expiry", slog.String("secret_id", string(e.id)),
		slog.String("version_id", string(c.Version.ID)), slog.Duration("left", c.NotAfter.Sub(now).Round(time.Second)))
	return true
}

// age marks a version that the store could not be asked about since its end, and
// later that this has lasted too long. It reports whether a mark is new.
func (e *entry) age(ctx context.Context, c *Current, since, now time.Time) bool {
	limit := e.m.cfg.MaxStale
	expired := limit > 0 && !now.Before(since.Add(limit))
	if c.Stale && c.Expired == expired {
		return false
	}
	marked := *c
	marked.Stale, marked.Expired = true, expired
	e.current.Store(&marked)
	if !c.Stale {
		e.m.meters.stale.Add(ctx, 1, metric.WithAttributes(attrID(e.id)))
	}
	log := e.m.log.With(slog.String("secret_id", string(e.id)), slog.String("version_id", string(c.Version.ID)), slog.Time("since", since))
	if expired {
		log.LogAttrs(ctx, slog.LevelError, "secret.expired", slog.String("message", "the store could not be asked for longer than the limit"))
	} else {
		log.LogAttrs(ctx, slog.LevelWarn, "secret.stale", slog.String("message", "the store could not be asked since the end of the version, which is still served"))
	}
	return true
}

// each calls f for every secret, some at a time, and waits.
func (m *Manager) each(f func(*entry)) {
	ids := make(chan secret.ID)
	var wg sync.WaitGroup
	for range min(maxReloads, len(m.cfg.IDs)) {
		wg.Go(func() {
			for id := range ids {
				f(m.entries[id])
			}
		})
	}
	for _, id := range m.cfg.IDs {
		ids <- id
	}
	close(ids)
	wg.Wait()
}

// catchUp reads the last notification about every secret: what happened while
// this process did not listen. When that is under way it begins once more
// afterwards.
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

func (m *Manager) missed(e *entry) {
	if m.work.Err() == nil {
		m.ended("bus", func() { m.lastNotified(e) })
	}
}

func (m *Manager) lastNotified(e *entry) {
	a, err := m.cfg.Bus.LastNotified(m.work, m.cfg.Service, e.id)
	if err != nil {
		m.log.LogAttrs(m.work, slog.LevelDebug, "secret.last_notified", slog.String("secret_id", string(e.id)), slog.String("error", err.Error()))
		return
	}
	if a.Seq != 0 {
		m.notified(m.work, events.Delivery{Event: a.Event, Seq: a.Seq})
	}
}

// reconnects returns the bus's reconnects, if it tells of them.
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
