package client

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observeEvery is how often it is noted which secrets were read.
const observeEvery = 10 * time.Second

// access notes the reads of one secret until the next observation. A read
// through a handle is worth a nanosecond, and counting it four: so handles only
// set a mark, which costs readers nothing while it is set.
// See docs/adr/0009-reads-through-a-handle-are-observed.md.
type access struct {
	marked atomic.Bool  // a handle was read
	named  atomic.Int64 // reads by name
}

// touch marks that a handle was read.
func (e *entry) touch() {
	if !e.access.marked.Load() {
		e.access.marked.Store(true)
	}
}

// observe counts the accesses since the last time, and begins anew. One goroutine
// at a time calls it.
func (m *Manager) observe(ctx context.Context) {
	for _, e := range m.entries {
		if e.access.marked.Load() && e.access.marked.Swap(false) {
			m.accessed(ctx, e, 1, "handle")
		}
		if e.access.named.Load() > 0 {
			m.accessed(ctx, e, e.access.named.Swap(0), "name")
		}
	}
}

// accessed counts and logs n accesses; how is "handle" or "name".
func (m *Manager) accessed(ctx context.Context, e *entry, n int64, how string) {
	m.meters.access.Add(ctx, n, metric.WithAttributes(attrID(e.id), attribute.String("read", how)))
	m.log.LogAttrs(ctx, slog.LevelDebug, "secret.access", slog.String("secret_id", string(e.id)), slog.String("read", how), slog.Int64("count", n))
}
