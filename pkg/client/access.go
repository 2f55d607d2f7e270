package client

import (
	"context"
	"log/slog"
	"math/rand/v2" //nolint:depguard // it spreads load, and nothing is secret in it
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observeEvery is how often accesses are logged: one line per secret.
const observeEvery = 10 * time.Second

// The ways to read a secret, the attribute read of secret.access.
const (
	readName   = iota // [Manager.Get]
	readHandle        // [Handle.Get], connectors and transports
	readUse           // a check of an authenticator or a key ring
	readKinds
)

var readNames = [readKinds]string{"name", "handle", "use"}

// counterStripes is over how many cache lines the count of one kind is spread, so that
// processors that read the same secret rarely wait for each other.
// See docs/adr/0038-every-access-is-counted.md.
const counterStripes = 8

// stripedCounter counts from many goroutines.
type stripedCounter struct {
	stripes [counterStripes]struct {
		n atomic.Int64
		_ [56]byte // the rest of a cache line
	}
}

func (c *stripedCounter) inc() { c.stripes[rand.Uint32()%counterStripes].n.Add(1) }

// total returns the count. Increments under way may be missing.
func (c *stripedCounter) total() (n int64) {
	for i := range c.stripes {
		n += c.stripes[i].n.Load()
	}
	return n
}

// access counts the reads of one secret. The counts are moved to the metric when
// metrics are collected, and to the log every observeEvery.
type access struct {
	reads [readKinds]stripedCounter

	mu      sync.Mutex // guards what follows
	metered [readKinds]int64
	logged  int64
}

// meter moves the reads since the last call to the metric.
func (e *entry) meter(ctx context.Context) {
	a := &e.access
	a.mu.Lock()
	defer a.mu.Unlock()
	for kind := range a.reads {
		total := a.reads[kind].total()
		if n := total - a.metered[kind]; n > 0 {
			a.metered[kind] = total
			e.m.meters.access.Add(ctx, n, metric.WithAttributes(attrID(e.id), attribute.String("read", readNames[kind])))
		}
	}
}

// unlogged returns how many reads there were since the last call.
func (a *access) unlogged() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var total int64
	for kind := range a.reads {
		total += a.reads[kind].total()
	}
	n := total - a.logged
	a.logged = total
	return n
}

// observe meters and logs the accesses since the last time.
func (m *Manager) observe(ctx context.Context) {
	for _, e := range m.entries() {
		e.meter(ctx)
		if n := e.access.unlogged(); n > 0 {
			m.log.LogAttrs(ctx, slog.LevelInfo, "secret.access", attrLogID(e.id), slog.Int64("count", n))
		}
	}
}
