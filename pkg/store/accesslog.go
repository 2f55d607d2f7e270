package store

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// accessEvery is the least time between two lines about the reads of one secret.
const accessEvery = 10 * time.Second

// accessLog logs reads: the first of a secret at once, and those of the next accessEvery
// in one line with their count. It remembers a secret for as long as that only.
type accessLog struct {
	log   *slog.Logger
	store string

	mu    sync.Mutex
	reads map[string]*reads // :: path → the reads since its last line; nil once closed
}

type reads struct {
	n       int64
	outcome string // of the last one
	again   *time.Timer
}

func newAccessLog(store string, log *slog.Logger) *accessLog {
	return &accessLog{log: log, store: store, reads: map[string]*reads{}}
}

// read notes one read.
func (a *accessLog) read(ctx context.Context, path, outcome string) {
	a.mu.Lock()
	r, seen := a.reads[path]
	switch {
	case seen:
		r.n, r.outcome = r.n+1, outcome
	case a.reads != nil:
		a.reads[path] = &reads{again: time.AfterFunc(accessEvery, func() { a.flush(path) })}
	}
	a.mu.Unlock()
	if !seen {
		a.tell(ctx, path, outcome, 1)
	}
}

// flush logs the reads of a secret since its last line, and forgets it if there are none.
func (a *accessLog) flush(path string) {
	a.mu.Lock()
	r, ok := a.reads[path]
	if !ok {
		a.mu.Unlock()
		return
	}
	n, outcome := r.n, r.outcome
	if r.n = 0; n == 0 {
		delete(a.reads, path)
	} else {
		r.again.Reset(accessEvery)
	}
	a.mu.Unlock()
	if n > 0 {
		a.tell(context.Background(), path, outcome, n)
	}
}

// close logs what was not logged yet. Reads after it are logged one by one.
func (a *accessLog) close() {
	a.mu.Lock()
	left := a.reads
	a.reads = nil
	a.mu.Unlock()
	for path, r := range left {
		r.again.Stop()
		if r.n > 0 {
			a.tell(context.Background(), path, r.outcome, r.n)
		}
	}
}

func (a *accessLog) tell(ctx context.Context, path, outcome string, n int64) {
	a.log.LogAttrs(ctx, slog.LevelInfo, "secret.access", slog.String("store", a.store), slog.String("operation", "get"), slog.String("secret", path),
		slog.String("outcome", outcome), slog.Int64("count", n))
}
