package client

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/client/internal/reload"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// looks are the pauses between the looks at the last notifications after the
// connection came back. Any server of a cluster answers a look, also one that lags
// behind, and a service has no right to ask the leader: that request names the subject
// in its body, so that the right to it is the right to read what other services are
// told. The first look therefore proves nothing, and the others follow.
//
// The last pause is that between further looks at the secrets whose read failed or
// was certainly old. The poll of the store finds what all of them missed.
var looks = [...]time.Duration{time.Second, 5 * time.Second, 25 * time.Second, time.Minute}

// hear looks at the last notification about every secret after the Manager has begun
// and after each reconnect: what was announced while this process had no connection.
func (m *Manager) hear() {
	next := time.NewTimer(0)
	defer next.Stop()
	left := m.members.Load().ids
	for look := 0; ; look++ {
		select {
		case <-m.work.Done():
			return
		case <-m.unheard:
			left, look = m.members.Load().ids, 0
		case <-next.C:
		}
		behind := m.look(left)
		if look >= len(looks)-1 {
			left = behind
		}
		next.Stop()
		if len(left) > 0 {
			pause := looks[min(look, len(looks)-1)]
			next.Reset(pause + backoff.Random(pause/4))
		}
	}
}

// catchUp has hear begin anew. It does not block.
func (m *Manager) catchUp() {
	select {
	case m.unheard <- struct{}{}:
	default:
	}
}

// look reads the last notifications about secrets, and returns those of them whose
// read failed or was old. It ends early when there is a reason to begin anew.
func (m *Manager) look(ids []secret.ID) (behind []secret.ID) {
	var mu sync.Mutex
	m.eachOf(ids, func(e *entry) {
		if m.work.Err() != nil || len(m.unheard) > 0 {
			return
		}
		var heard bool
		m.ended("bus", func() { heard = m.lastNotified(e) })
		if !heard {
			mu.Lock()
			defer mu.Unlock()
			behind = append(behind, e.id)
		}
	})
	slices.Sort(behind)
	return behind
}

// lastNotified feeds the last notification about a secret, if there is one. It reports
// false for a read that failed, and for an answer older than what this process has
// heard. A bus that panics has failed.
func (m *Manager) lastNotified(e *entry) bool {
	a, err := m.cfg.Bus.LastNotified(m.work, m.cfg.Service, e.id)
	if err != nil {
		m.log.LogAttrs(m.work, slog.LevelDebug, "secret.last_notified", slog.String("secret_id", string(e.id)), slog.String("error", err.Error()))
		return false
	}
	if a.Seq == 0 {
		return true // nothing was announced, or what was is gone with its stream
	}
	if e.heardAfter(a) {
		return false
	}
	m.notified(trace.ContextWithRemoteSpanContext(m.work, a.Trace), events.Delivery{Event: a.Event, Seq: a.Seq})
	return true
}

// hears notes a notification.
func (e *entry) hears(a reload.Announcement) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.heard.After(a) {
		e.heard = a
	}
}

// heardAfter reports whether this process has heard a later notification than a.
func (e *entry) heardAfter(a events.Announcement) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard.After(reload.Announcement{At: a.Event.Time, Seq: a.Seq})
}
