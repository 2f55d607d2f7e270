package storetest

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Mem is a complete driver that keeps everything in memory, for tests of what
// stands above a store. It passes the conformance suite.
type Mem struct {
	// Fault, if set, is asked before a call takes effect, and After once it
	// has; what they return is the error of the call. After is how an answer is
	// lost.
	Fault, After func(op, path string) error

	now     func() time.Time
	mu      sync.Mutex
	secrets map[string]*memSecret // :: path → secret
	deleted map[string]int        // :: path → how often the secret was deleted
}

type memSecret struct {
	versions []secret.Version
	values   map[secret.VersionID]secret.Value
	attrs    map[string]string
	// incarnation is "" unless the secret was deleted before, so that tests can
	// derive the tokens of a new one.
	incarnation string
}

var (
	_ store.Driver        = (*Mem)(nil)
	_ store.FencedRetirer = (*Mem)(nil)
)

// NewMem returns an empty store whose versions are dated by now; nil means
// time.Now.
func NewMem(now func() time.Time) *Mem {
	if now == nil {
		now = time.Now
	}
	return &Mem{now: now, secrets: map[string]*memSecret{}, deleted: map[string]int{}}
}

// Features implements [store.Driver].
func (*Mem) Features() store.Features {
	return store.Features{KeepsExpiry: true, KeepsRetired: true, Deletes: true, Fenced: true, Attributes: true}
}

// SetAttributes sets the attributes of a secret that exists.
func (m *Mem) SetAttributes(path string, attrs map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.secrets[path].attrs = maps.Clone(attrs)
}

// Delete makes the store forget a secret, as another program might.
func (m *Mem) Delete(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.secrets, path)
	m.deleted[path]++
}

// do runs one call between the two faults.
func (m *Mem) do(ctx context.Context, op, path string, call func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.Fault != nil {
		if err := m.Fault(op, path); err != nil {
			return err
		}
	}
	m.mu.Lock()
	err := call()
	m.mu.Unlock()
	if err == nil && m.After != nil {
		err = m.After(op, path)
	}
	return err
}

func (m *Mem) find(path string) (*memSecret, error) {
	s, ok := m.secrets[path]
	if !ok {
		return nil, fmt.Errorf("%w: no such secret", store.ErrNotFound)
	}
	return s, nil
}

// Describe implements [store.Driver].
func (m *Mem) Describe(ctx context.Context, path string) (meta secret.Metadata, err error) {
	err = m.do(ctx, "describe", path, func() error {
		s, err := m.find(path)
		if err == nil {
			meta = s.metadata(path)
		}
		return err
	})
	return meta, err
}

func (s *memSecret) metadata(path string) secret.Metadata {
	return secret.Metadata{Path: path, Incarnation: s.incarnation, Versions: slices.Clone(s.versions), Attributes: maps.Clone(s.attrs)}
}

// List implements [store.Driver].
func (m *Mem) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		var all []secret.Metadata
		if err := m.do(ctx, "list", "", func() error {
			for _, path := range slices.Sorted(maps.Keys(m.secrets)) {
				all = append(all, m.secrets[path].metadata(path))
			}
			return nil
		}); err != nil {
			yield(secret.Metadata{}, err)
			return
		}
		for _, meta := range all {
			if !yield(meta, nil) {
				return
			}
		}
	}
}

// Get implements [store.Driver].
func (m *Mem) Get(ctx context.Context, path string, sel store.Selector) (v secret.Version, val secret.Value, err error) {
	err = m.do(ctx, "get", path, func() error {
		s, err := m.find(path)
		if err != nil {
			return err
		}
		if v, err = sel.Find(s.metadata(path)); err != nil {
			return err
		}
		var ok bool
		if val, ok = s.values[v.ID]; !ok {
			return fmt.Errorf("%w: %s", store.ErrNoValue, v.ID)
		}
		return nil
	})
	return v, val, err
}

// Put implements [store.Driver].
func (m *Mem) Put(ctx context.Context, path string, w store.Write) (v secret.Version, err error) {
	err = m.do(ctx, "put", path, func() error {
		s, err := m.find(path)
		if err != nil {
			if !w.Create {
				return err
			}
			s = &memSecret{values: map[secret.VersionID]secret.Value{}}
			if n := m.deleted[path]; n > 0 {
				s.incarnation = fmt.Sprint(n)
			}
		}
		doc := store.Document{Versions: s.versions}
		made, fresh, err := doc.Put(w, m.now())
		if err != nil {
			return err
		}
		v = made
		if !fresh {
			if !s.values[v.ID].Equal(w.Value) {
				return fmt.Errorf("%w: %s", store.ErrTokenReused, w.Token)
			}
			return nil
		}
		s.versions, s.values[v.ID] = doc.Versions, w.Value
		m.secrets[path] = s
		return nil
	})
	return v, err
}

// Promote implements [store.Driver].
func (m *Mem) Promote(ctx context.Context, path string, from, to secret.VersionID) error {
	return m.do(ctx, "promote", path, func() error {
		s, err := m.find(path)
		if err != nil {
			return err
		}
		doc := store.Document{Versions: s.versions}
		_, err = doc.Promote(from, to)
		s.versions = doc.Versions
		return err
	})
}

// Retire implements [store.Driver].
func (m *Mem) Retire(ctx context.Context, path string, id secret.VersionID, mode secret.RetireMode) error {
	return m.do(ctx, "retire", path, func() error {
		s, err := m.find(path)
		if err != nil {
			return err
		}
		return s.retire(id, mode)
	})
}

// RetireWhile implements [store.FencedRetirer].
func (m *Mem) RetireWhile(ctx context.Context, path string, id secret.VersionID, mode secret.RetireMode, current secret.VersionID) error {
	return m.do(ctx, "retire", path, func() error {
		s, err := m.find(path)
		if err != nil {
			return err
		}
		if cur := s.metadata(path).Current().ID; cur != current {
			return fmt.Errorf("%w: the current version is %q, not %q", store.ErrConflict, cur, current)
		}
		return s.retire(id, mode)
	})
}

func (s *memSecret) retire(id secret.VersionID, mode secret.RetireMode) error {
	doc := store.Document{Versions: s.versions}
	changed, err := doc.Retire(id, mode)
	if err != nil || !changed {
		return err
	}
	s.versions = doc.Versions
	if mode != secret.RetireKeep && mode != secret.RetireLater {
		delete(s.values, id)
	}
	return nil
}

// Close implements [store.Driver].
func (m *Mem) Close() error { return nil }
