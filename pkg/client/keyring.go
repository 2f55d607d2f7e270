package client

import (
	"context"
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
	mu      sync.RWMutex
	keys    map[secret.VersionID]Key // :: every version this process has seen and still keeps
	keep    time.Duration
	stop    func()
}

// NewKeyring returns a Keyring on a secret of m. A version that was current is
// kept for keep, 0 for as long as the process lives.
func NewKeyring(ctx context.Context, m *Manager, id secret.ID, keep time.Duration) (*Keyring, error) {
	k := &Keyring{id: id, m: m, keep: keep, keys: map[secret.VersionID]Key{}}
	stop, err := m.Subscribe(ctx, id, k.take)
	if err != nil {
		return nil, err
	}
	k.stop = stop
	return k, nil
}

func (k *Keyring) take(_ context.Context, c Change) error {
	key := Key{ID: c.Version.ID, Value: c.Value}
	k.add(key)
	if c.Staged {
		return nil
	}
	before := k.current.Swap(&key)
	if before != nil && before.ID != key.ID && k.keep > 0 {
		time.AfterFunc(k.keep, func() {
			if k.current.Load().ID != before.ID {
				k.mu.Lock()
				delete(k.keys, before.ID)
				k.mu.Unlock()
			}
		})
	}
	return nil
}

func (k *Keyring) add(key Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[key.ID] = key
}

// Current returns the key to sign with: one atomic load.
func (k *Keyring) Current() Key { return *k.current.Load() }

// Key returns a version to verify with, and false when this process has not
// seen it.
func (k *Keyring) Key(v secret.VersionID) (Key, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.keys[v]
	return key, ok
}

// Fetch returns a version like Key, and asks the store for one that this process
// has not seen: after a restart, for records of an earlier one.
func (k *Keyring) Fetch(ctx context.Context, v secret.VersionID) (Key, error) {
	if key, ok := k.Key(v); ok {
		return key, nil
	}
	_, val, err := k.m.cfg.Source.Read(ctx, k.id, store.Selector{Version: v})
	if err != nil {
		return Key{}, err
	}
	key := Key{ID: v, Value: val}
	k.add(key)
	return key, nil
}

// Close takes the Keyring off its secret; it keeps the keys that it has.
func (k *Keyring) Close() { k.stop() }
