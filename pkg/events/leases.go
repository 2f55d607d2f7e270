package events

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// leases announces the end of reports that are not renewed. The stream cannot: its
// markers would let a publisher remove what others reported.
type leases struct {
	mu     sync.Mutex // held while fn runs
	fn     func(ReportEvent) error
	fail   context.CancelCauseFunc
	timers map[string]leaseTimer // :: service.instance → end of the lease
	count  int                   // of timers, ever
}

type leaseTimer struct {
	*time.Timer

	n int // tells it from the timers of the same instance before
}

// see passes on a change, and its end after the lease, if it has one.
func (l *leases) see(e ReportEvent, lease time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := e.Report.Service + "." + e.Report.Instance
	if t, ok := l.timers[key]; ok {
		t.Stop()
		delete(l.timers, key)
	}
	if !e.Gone && !e.Synced && lease > 0 {
		l.count++
		n := l.count
		l.timers[key] = leaseTimer{time.AfterFunc(lease, func() { l.end(key, n, e.Report) }), n}
	}
	return l.fn(e)
}

// end announces that the lease which timer n measures is over, unless it was
// renewed.
func (l *leases) end(key string, n int, r Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timers[key].n != n {
		return
	}
	delete(l.timers, key)
	if err := l.fn(ReportEvent{Report: Report{Service: r.Service, Instance: r.Instance}, Gone: true}); err != nil {
		l.fail(stopError{err})
	}
}

// stop returns when no end will be announced any more.
func (l *leases) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.timers {
		t.Stop()
	}
	clear(l.timers)
}

// leaseOf returns the TTL of a message, 0 for none. The server takes a duration,
// or a number of seconds.
func leaseOf(h nats.Header) time.Duration {
	ttl := h.Get(jetstream.MsgTTLHeader)
	if d, err := time.ParseDuration(ttl); err == nil {
		return d
	}
	if n, err := strconv.ParseInt(ttl, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	return 0
}
