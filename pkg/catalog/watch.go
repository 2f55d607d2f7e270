package catalog

import (
	"context"
	"iter"

	"github.com/tradepulse/rotator/pkg/secret"
)

// watcher collects the ids that a [Catalog.Watch] has not yielded yet.
type watcher struct {
	pending map[secret.ID]struct{}
	wake    chan struct{} // holds one token while there may be pending ids
}

// Watch yields the ids whose entries are added, replaced or removed from now on,
// until ctx ends. Several changes of one id may be yielded once, in any order of
// the ids: read the entry with [Catalog.Lookup]. A watch that is read slowly
// holds up nothing, and remembers each id once. It is iterated at most once.
func (c *Catalog) Watch(ctx context.Context) iter.Seq[secret.ID] {
	w := &watcher{pending: map[secret.ID]struct{}{}, wake: make(chan struct{}, 1)}
	c.mu.Lock()
	c.watchers[w] = struct{}{}
	c.mu.Unlock()
	stop := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, w)
	}
	release := context.AfterFunc(ctx, stop)
	return func(yield func(secret.ID) bool) {
		defer stop()
		defer release()
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			}
			for id := range c.take(w) {
				if ctx.Err() != nil || !yield(id) {
					return
				}
			}
		}
	}
}

// take returns what is pending.
func (c *Catalog) take(w *watcher) map[secret.ID]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := w.pending
	w.pending = map[secret.ID]struct{}{}
	return ids
}

// changed tells every watcher; c.mu is held.
func (c *Catalog) changed(id secret.ID) {
	for w := range c.watchers {
		w.pending[id] = struct{}{}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
