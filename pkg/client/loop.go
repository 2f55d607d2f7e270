package client

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// loop is the safety net beside the notifications: it asks the store slowly,
// again after a failure, before a version ends, and after the connection came
// back. One goroutine does it for all secrets.
func (m *Manager) loop() {
	for _, e := range m.entries {
		m.missed(e)
	}
	reconnected, release := m.reconnects()
	defer release()
	poll := time.NewTimer(m.pollIn(0))
	defer poll.Stop()
	look := time.NewTimer(m.lookIn())
	defer look.Stop()
	for n := 1; ; n++ {
		select {
		case <-m.work.Done():
			return
		case <-reconnected:
			for _, e := range m.entries {
				m.missed(e)
			}
			m.renew()
		case <-poll.C:
			for _, e := range m.entries {
				m.reload(m.work, e, events.Event{})
			}
			poll.Reset(m.pollIn(n))
		case <-m.wake:
			look.Reset(m.lookIn())
		case <-look.C:
			now := time.Now()
			for _, e := range m.entries {
				if e.attend(m.work, now) {
					m.reload(m.work, e, events.Event{})
				}
			}
			look.Reset(m.lookIn())
		}
	}
}

// pollIn returns the time to the next poll: the interval less up to a tenth,
// different for each instance.
func (m *Manager) pollIn(n int) time.Duration {
	if m.cfg.PollInterval < 0 {
		return 1<<63 - 1
	}
	spread := secret.Spread(secret.ID(m.cfg.Instance), "poll "+string(rune('a'+n%26)))
	return m.cfg.PollInterval - time.Duration(spread*float64(m.cfg.PollInterval)/10)
}

// leastLook bounds how often the secrets are looked at.
const leastLook = 20 * time.Millisecond

// lookIn returns when something has to be looked at: a retry or the end of a
// version.
func (m *Manager) lookIn() time.Duration {
	next := time.Minute
	now := time.Now()
	for _, e := range m.entries {
		if at := e.attendAt(now); !at.IsZero() {
			next = min(next, max(at.Sub(now), leastLook))
		}
	}
	return next
}

// attendAt returns when the entry needs attention, zero for not in sight.
func (e *entry) attendAt(now time.Time) time.Time {
	if !e.mu.TryLock() {
		return time.Time{} // it is being reloaded
	}
	defer e.mu.Unlock()
	at := e.nextTry
	c := e.current.Load()
	if c.NotAfter.IsZero() {
		return at
	}
	for _, t := range []time.Time{c.NotAfter.Add(-e.margin()), c.NotAfter} {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

func (e *entry) margin() time.Duration {
	spec, err := e.m.cfg.Source.Spec(e.id)
	if err != nil {
		return secret.DefaultRefreshMargin
	}
	return spec.Margin()
}

// attend says that a version is near its end, marks one that is past it, and
// reports whether the store should be asked.
func (e *entry) attend(ctx context.Context, now time.Time) bool {
	if !e.mu.TryLock() {
		return false // it is being reloaded
	}
	defer e.mu.Unlock()
	c := e.current.Load()
	due := !e.nextTry.IsZero() && !now.Before(e.nextTry)
	if c.NotAfter.IsZero() || now.Before(c.NotAfter.Add(-e.margin())) {
		return due
	}
	if e.warned != c.Version.ID {
		e.warned = c.Version.ID
		e.m.meters.near.Add(ctx, 1, metric.WithAttributes(attrID(e.id)))
		e.m.log.LogAttrs(ctx, slog.LevelWarn, "secret.near_expiry", slog.String("secret_id", string(e.id)),
			slog.String("version_id", string(c.Version.ID)), slog.Duration("left", c.NotAfter.Sub(now).Round(time.Second)))
		return true
	}
	if !now.Before(c.NotAfter) && !c.Stale {
		stale := *c
		stale.Stale = true
		e.current.Store(&stale)
		e.m.log.LogAttrs(ctx, slog.LevelError, "secret.stale", slog.String("secret_id", string(e.id)), slog.String("version_id", string(c.Version.ID)),
			slog.String("message", "the version is past its end and still served: no newer one could be had"))
		return true
	}
	return due
}

// missed reads the last notification about a secret: what happened while this
// process did not listen.
func (m *Manager) missed(e *entry) {
	if m.cfg.Bus == nil {
		return
	}
	m.wg.Go(func() {
		select {
		case m.slots <- struct{}{}:
			defer func() { <-m.slots }()
		case <-m.work.Done():
			return
		}
		a, err := m.cfg.Bus.LastNotified(m.work, m.cfg.Service, e.id)
		if err != nil {
			m.log.LogAttrs(m.work, slog.LevelDebug, "secret.last_notified", slog.String("secret_id", string(e.id)), slog.String("error", err.Error()))
			return
		}
		if a.Seq != 0 {
			m.notified(m.work, events.Delivery{Event: a.Event, Seq: a.Seq})
		}
	})
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

// coalesce is how long changes are gathered into one report.
const coalesce = 10 * time.Millisecond

// renew asks for a report soon.
func (m *Manager) renew() {
	select {
	case m.dirty <- struct{}{}:
	default:
	}
}

// report says what this process runs, after each change and in time to keep the
// lease.
func (m *Manager) report() {
	every := time.NewTimer(m.cfg.Lease / 3)
	defer every.Stop()
	for {
		select {
		case <-m.work.Done():
			return
		case <-m.dirty:
			t := time.NewTimer(coalesce)
			select {
			case <-t.C:
			case <-m.work.Done():
				t.Stop()
				return
			}
		case <-every.C:
		}
		every.Reset(m.cfg.Lease / 3)
		if err := m.cfg.Bus.Report(m.work, m.snapshot(), m.cfg.Lease); err != nil && m.work.Err() == nil {
			m.log.LogAttrs(m.work, slog.LevelWarn, "secret.report", slog.String("error", err.Error()))
		}
	}
}

func (m *Manager) snapshot() events.Report {
	r := events.Report{Service: m.cfg.Service, Instance: m.cfg.Instance, StartedAt: m.started, At: time.Now()}
	for _, id := range m.cfg.IDs {
		r.Secrets = append(r.Secrets, *m.entries[id].status.Load())
	}
	return r
}
