package node

import (
	"context"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/health"
	"github.com/tradepulse/rotator/cmd/internal/httpd"
	"github.com/tradepulse/rotator/cmd/internal/wire"
)

// readiness answers /readyz: connected, and able to work.
type readiness struct {
	waiting wire.Waiting
	monitor atomic.Pointer[health.Monitor]
}

func (r *readiness) set(m *health.Monitor) { r.monitor.Store(m) }

func (r *readiness) checks() []httpd.Check {
	return []httpd.Check{{Name: "nats", Probe: func(context.Context) error {
		if m := r.monitor.Load(); m != nil {
			return m.Err()
		}
		return r.waiting.Err()
	}}}
}

// watch returns what watches the bus for the roles of the node.
func (n *node) watch(p *wire.Parts) (*health.Monitor, error) {
	c := health.Config{Bus: p.Bus, Probes: p.Probes, Logger: n.log}
	if n.server != nil {
		c.Dir = filepath.Dir(n.server.StoreDir())
	}
	if slices.Contains(n.roles, Scheduler) {
		c.SweepEvery = time.Duration(n.cfg.Scheduler.SweepEvery)
	}
	return health.New(c)
}
