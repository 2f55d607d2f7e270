package node

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/tradepulse/rotator/cmd/internal/httpd"
	"github.com/tradepulse/rotator/cmd/internal/wire"
)

// readiness answers /readyz: connected, and working.
type readiness struct {
	waiting wire.Waiting
	parts   atomic.Pointer[wire.Parts]
}

func (r *readiness) set(p *wire.Parts) { r.parts.Store(p) }

func (r *readiness) checks() []httpd.Check {
	return []httpd.Check{{Name: "nats", Probe: func(context.Context) error {
		p := r.parts.Load()
		switch {
		case p == nil:
			return r.waiting.Err()
		case !p.Bus.Connected():
			return errors.New("the connection is lost; it is tried again")
		default:
			return nil
		}
	}}}
}
