package wire

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/events"
)

// Waiting says what the start of a program waits for, for its readiness. The zero
// value waits for the bus. It is safe for concurrent use.
type Waiting struct{ reason atomic.Pointer[string] }

func (w *Waiting) set(err error) {
	text := err.Error()
	w.reason.Store(&text)
}

// Err returns why the program is not ready.
func (w *Waiting) Err() error {
	if reason := w.reason.Load(); reason != nil {
		return fmt.Errorf("not connected yet: %s", *reason)
	}
	return fmt.Errorf("not connected yet, or draining")
}

// reach calls do, as often as is needed if o waits.
func (o Options) reach(ctx context.Context, nc *nats.Conn, do func(context.Context) error) error {
	if o.Waiting == nil {
		return events.WithPermission(nc, func() error { return do(ctx) })
	}
	return events.Await(ctx, nc, events.AwaitConfig{Reason: o.Waiting.set, Logger: o.Logger}, do)
}
