package client

import (
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// coalesce is how long changes are gathered into one report.
const coalesce = 10 * time.Millisecond

// renew asks for a report soon. It does not block; changes within coalesce share a
// report.
func (m *Manager) renew() {
	select {
	case m.dirty <- struct{}{}:
	default:
	}
}

// report reports what this process runs after each change, and often enough that
// one lost report does not end the lease. A report that fails is logged, and the
// next one is sent after a third of the lease.
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
		if err := m.cfg.Bus.Report(m.work, m.Report(), m.cfg.Lease); err != nil && m.work.Err() == nil {
			m.log.LogAttrs(m.work, slog.LevelWarn, "secret.report", slog.String("error", err.Error()))
		}
	}
}

// Report returns what this process runs, as it reports it to the bus: every secret,
// in the order of their ids. It holds versions and never a value.
func (m *Manager) Report() events.Report {
	r := events.Report{Service: m.cfg.Service, Instance: m.cfg.Instance, StartedAt: m.started, At: time.Now()}
	for _, id := range m.cfg.IDs {
		r.Secrets = append(r.Secrets, *m.entries[id].status.Load())
	}
	return r
}
