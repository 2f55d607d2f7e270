package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrClosed is returned by what is used after its Close.
var ErrClosed = errors.New("client: it is closed")

// Updater holds something that is made from a secret, such as a client of
// another service. A new version makes a new one beside the requests that run, which
// is used once all hooks have accepted the version; the old one is released after
// its last user. Until then the process reports that it uses the old version, which is
// not retired. When the new one cannot be made
// the old one stays in use, and that is reported and tried again. It is safe for
// concurrent use.
type Updater[T any] struct {
	build   func(context.Context, Change) (T, error)
	release func(T)
	current atomic.Pointer[held[T]]
	next    *held[T] // prepared, nil for none; hooks are not called concurrently
	stop    func()
	once    sync.Once

	detach func() // ends the report of what was replaced
	renew  func() // has the report written

	mu       sync.Mutex // guards the fields below
	replaced []*held[T] // that are not released yet
	closed   bool
}

// held is a value and how many use it, the Updater being one of them.
type held[T any] struct {
	value   T
	version secret.VersionID
	from    secret.Value // what it was built of: at another place an id stands for another value
	users   atomic.Int64
}

// NewUpdater returns an Updater whose first value is in place. build makes a
// value of a version, and tries it out if that can be done; it is called with
// nothing locked. release ends a value after its last use, in the goroutine of its
// last user; nil does nothing.
func NewUpdater[T any](ctx context.Context, m *Manager, id secret.ID, build func(context.Context, Change) (T, error), release func(T)) (*Updater[T], error) {
	if release == nil {
		release = func(T) {}
	}
	u := &Updater[T]{build: build, release: release, renew: m.renew}
	stop, err := m.SubscribeTwoPhase(ctx, id, steps{u.prepare, u.commit, u.withdraw})
	if err != nil {
		return nil, err
	}
	e, _ := m.find(id) // it is there: subscribing to it succeeded
	u.stop, u.detach = stop, e.attach(u)
	return u, nil
}

// accepts implements acceptor: requests that run use what was replaced.
func (u *Updater[T]) accepts() (out []secret.VersionID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, h := range u.replaced {
		out = append(out, h.version)
	}
	return out
}

// drop implements acceptor. What a request uses cannot be taken from it.
func (u *Updater[T]) drop(func(secret.VersionID) bool, bool) {}

// prepare implements [TwoPhase]: it makes the value. A staged version makes nothing:
// it may never come into use.
func (u *Updater[T]) prepare(ctx context.Context, c Change) error {
	if c.Staged || u.next != nil && u.next.version == c.Version.ID && u.next.from.Equal(c.Value) {
		return nil // it is offered again because another hook refused it
	}
	v, err := u.build(ctx, c)
	if err != nil {
		return err
	}
	u.discard()
	u.next = &held[T]{value: v, version: c.Version.ID, from: c.Value}
	u.next.users.Store(1)
	return nil
}

// commit implements [TwoPhase].
func (u *Updater[T]) commit(context.Context, Change) {
	u.next.from = secret.Value{}
	old := u.current.Swap(u.next)
	u.next = nil
	if old != nil {
		u.replace(old)
	}
}

// replace ends the use of h by the Updater.
func (u *Updater[T]) replace(h *held[T]) {
	u.mu.Lock()
	u.replaced = append(u.replaced, h)
	u.mu.Unlock()
	u.done(h)
}

// withdraw implements [TwoPhase].
func (u *Updater[T]) withdraw(v secret.VersionID) {
	if u.next != nil && u.next.version == v {
		u.discard()
	}
}

// discard releases what was prepared and not used.
func (u *Updater[T]) discard() {
	if u.next != nil {
		u.done(u.next)
		u.next = nil
	}
}

// done ends one use. The last one releases the value, and is reported.
func (u *Updater[T]) done(h *held[T]) {
	if h.users.Add(-1) > 0 {
		return
	}
	defer u.released(h)
	u.release(h.value)
}

// released notes that a value is not used any more.
func (u *Updater[T]) released(h *held[T]) {
	u.mu.Lock()
	u.replaced = slices.DeleteFunc(u.replaced, func(r *held[T]) bool { return r == h })
	over := u.closed && len(u.replaced) == 0
	u.mu.Unlock()
	if over {
		u.detach()
	}
	u.renew()
}

// acquire returns the current value with one more user, nil once the Updater is
// closed. It counts a user only while there is another one, so that a value that is
// being released is never used again; then it takes the value that follows.
func (u *Updater[T]) acquire() *held[T] {
	for {
		h := u.current.Load()
		for n := h.users.Load(); n > 0; n = h.users.Load() {
			if h.users.CompareAndSwap(n, n+1) {
				return h
			}
		}
		if u.current.Load() == h {
			return nil
		}
	}
}

// Use calls f with the current value, which is not released before f returns.
func (u *Updater[T]) Use(f func(T) error) error {
	h := u.acquire()
	if h == nil {
		return ErrClosed
	}
	defer u.done(h)
	return f(h.value)
}

// Acquire returns the current value for use until done is called, which must
// happen once; more often does nothing.
func (u *Updater[T]) Acquire() (v T, done func(), err error) {
	h := u.acquire()
	if h == nil {
		return v, nil, ErrClosed
	}
	return h.value, sync.OnceFunc(func() { u.done(h) }), nil
}

// Close takes the Updater off its secret and releases the value after its last
// user. Until then the process reports that it uses the version.
func (u *Updater[T]) Close() {
	u.once.Do(func() {
		u.stop()
		u.discard()
		u.mu.Lock()
		u.closed = true
		u.mu.Unlock()
		u.replace(u.current.Load())
	})
}
