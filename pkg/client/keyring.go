package client

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Key is one version of a key.
type Key struct {
	ID    secret.VersionID
	Value secret.Value
}

// Keyring signs with the current version of a secret and verifies with any
// version that this process has seen, staged ones included. What it is a key for
// is not its business. It is safe for concurrent use.
type Keyring struct {
	id      secret.ID
	m       *Manager
	current atomic.Pointer[Key]
	keep    time.Duration
	stop    func()

	mu sync.Mutex // held by what changes the keys
	// keys are all that verify; the map is replaced, never changed.
	keys atomic.Pointer[map[secret.VersionID]kept]
}

// kept is a key and when it stops to verify, zero for never.
type kept struct {
	Key

	until time.Time
}

// NewKeyring returns a Keyring on a secret of m. A version that was current, or
// staged and then given up, is kept for keep after another one became current, 0
// for as long as the process lives.
func NewKeyring(ctx context.Context, m *Manager, id secret.ID, keep time.Duration) (*Keyring, error) {
	k := &Keyring{id: id, m: m, keep: keep}
	k.keys.Store(&map[secret.VersionID]kept{})
	stop, err := m.Subscribe(ctx, id, k.take)
	if err != nil {
		return nil, err
	}
	k.stop = stop
	return k, nil
}

// take is the hook. A version that replaces another starts the time of all that are
// kept.
func (k *Keyring) take(_ context.Context, c Change) error {
	key := Key{ID: c.Version.ID, Value: c.Value}
	k.change(func(keys map[secret.VersionID]kept) {
		if !c.Staged && k.keep > 0 {
			for id, old := range keys {
				if id != key.ID && old.until.IsZero() {
					old.until = time.Now().Add(k.keep)
					keys[id] = old
				}
			}
		}
		keys[key.ID] = kept{Key: key}
	})
	if !c.Staged {
		k.current.Store(&key)
	}
	return nil
}

// change replaces the keys by a changed copy without those whose time is over.
// Readers see the keys of before or those of after, and never wait.
func (k *Keyring) change(f func(map[secret.VersionID]kept)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := maps.Clone(*k.keys.Load())
	now := time.Now()
	maps.DeleteFunc(keys, func(_ secret.VersionID, key kept) bool { return key.over(now) })
	f(keys)
	k.keys.Store(&keys)
}

// over reports whether the key has stopped to verify.
func (k kept) over(now time.Time) bool { return !k.until.IsZero() && !now.Before(k.until) }

// Current returns the key to sign with: one atomic load.
func (k *Keyring) Current() Key { return *k.current.Load() }

// Key returns a version to verify with, and false when this process has not
// seen it or has not kept it.
func (k *Keyring) Key(v secret.VersionID) (Key, bool) {
	key, ok := (*k.keys.Load())[v]
	if !ok || key.over(time.Now()) {
		return Key{}, false
	}
	return key.Key, true
}

// Fetch returns a version like Key, and asks the store for one that this process
// does not have: after a restart, for records of an earlier one. It is kept like
// one that was current.
func (k *Keyring) Fetch(ctx context.Context, v secret.VersionID) (Key, error) {
	if key, ok := k.Key(v); ok {
		return key, nil
	}
	_, val, err := k.m.cfg.Source.Read(ctx, k.id, store.Selector{Version: v})
	if err != nil {
		return Key{}, err
	}
	key := kept{Key: Key{ID: v, Value: val}}
	if k.keep > 0 {
		key.until = time.Now().Add(k.keep)
	}
	k.change(func(keys map[secret.VersionID]kept) { keys[v] = key })
	return key.Key, nil
}

// Lookup returns the function that [AuditVerifier] and [VerifyAudit] ask for
// keys: Fetch in their form.
func (k *Keyring) Lookup(ctx context.Context) func(secret.VersionID) (secret.Value, error) {
	return func(v secret.VersionID) (secret.Value, error) {
		key, err := k.Fetch(ctx, v)
		return key.Value, err
	}
}

// Close takes the Keyring off its secret. It keeps the keys that it has, and Current
// stays what it was.
func (k *Keyring) Close() { k.stop() }
