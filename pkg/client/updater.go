package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrClosed is returned by what is used after its Close.
var ErrClosed = errors.New("client: it is closed")

// Updater holds something that is made from a secret, such as a client of
// another service. A new version makes a new one beside the requests that run, which
// is used once all hooks have accepted the version; the old one is released after
// its last user. When the new one cannot be made
// the old one stays in use, and that is reported and tried again. It is safe for
// concurrent use.
type Updater[T any] struct {
	build   func(context.Context, Change) (T, error)
	release func(T)
	current atomic.Pointer[held[T]]
	next    *held[T] // prepared, nil for none; hooks are not called concurrently
	stop    func()
	once    sync.Once
}

// held is a value and how many use it, the Updater being one of them.
type held[T any] struct {
	value   T
	version secret.VersionID
	users   atomic.Int64
	release func(T)
}

// NewUpdater returns an Updater whose first value is in place. build makes a
// value of a version, and tries it out if that can be done; it is called with
// nothing locked. release ends a value after its last use, in the goroutine of its
// last user; nil does nothing.
func NewUpdater[T any](ctx context.Context, m *Manager, id secret.ID, build func(context.Context, Change) (T, error), release func(T)) (*Updater[T], error) {
	if release == nil {
		release = func(T) {}
	}
	u := &Updater[T]{build: build, release: release}
	stop, err := m.SubscribeTwoPhase(ctx, id, steps{u.prepare, u.commit, u.withdraw})
	if err != nil {
		return nil, err
	}
	u.stop = stop
	return u, nil
}

// prepare implements [TwoPhase]: it makes the value. A staged version makes nothing:
// it may never come into use.
func (u *Updater[T]) prepare(ctx context.Context, c Change) error {
	if c.Staged || u.next != nil && u.next.version == c.Version.ID {
		return nil // it is offered again because another hook refused it
	}
	v, err := u.build(ctx, c)
	if err != nil {
		return err
	}
	u.discard()
	u.next = &held[T]{value: v, version: c.Version.ID, release: u.release}
	u.next.users.Store(1)
	return nil
}

// commit implements [TwoPhase].
func (u *Updater[T]) commit(context.Context, Change) {
	old := u.current.Swap(u.next)
	u.next = nil
	if old != nil {
		old.done()
	}
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
		u.next.done()
		u.next = nil
	}
}

// done ends one use. The last one releases the value.
func (h *held[T]) done() {
	if h.users.Add(-1) == 0 {
		h.release(h.value)
	}
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
	defer h.done()
	return f(h.value)
}

// Acquire returns the current value for use until done is called, which must
// happen once; more often does nothing.
func (u *Updater[T]) Acquire() (v T, done func(), err error) {
	h := u.acquire()
	if h == nil {
		return v, nil, ErrClosed
	}
	return h.value, sync.OnceFunc(h.done), nil
}

// Close takes the Updater off its secret and releases the value after its last
// user.
func (u *Updater[T]) Close() {
	u.once.Do(func() {
		u.stop()
		u.discard()
		u.current.Load().done()
	})
}
