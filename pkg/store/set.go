package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Set is the stores of a program, by name. Its zero value is empty. It is safe
// for concurrent use.
type Set struct {
	mu     sync.RWMutex
	stores map[string]*Store
}

// NewSet returns a set of stores. It fails when two have one name.
func NewSet(stores ...*Store) (*Set, error) {
	s := new(Set)
	for _, st := range stores {
		if err := s.Add(st); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Add adds a store. It fails when the set has one of that name.
func (s *Set) Add(st *Store) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.stores[st.Name()]; ok {
		return fmt.Errorf("two stores are named %q", st.Name())
	}
	if s.stores == nil {
		s.stores = map[string]*Store{}
	}
	s.stores[st.Name()] = st
	return nil
}

// Get returns the store with a name.
func (s *Set) Get(name string) (*Store, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st, ok := s.stores[name]
	return st, ok
}

// All returns the stores in the order of their names.
func (s *Set) All() []*Store {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*Store, 0, len(s.stores))
	for _, name := range slices.Sorted(maps.Keys(s.stores)) {
		out = append(out, s.stores[name])
	}
	return out
}

// Close closes every store.
func (s *Set) Close() error {
	var errs []error
	for _, st := range s.All() {
		errs = append(errs, st.Close())
	}
	return errors.Join(errs...)
}

// Has reports whether there is a store with a name.
func (s *Set) Has(name string) bool {
	_, ok := s.Get(name)
	return ok
}

// External reports whether the service of a store can rotate secrets itself, see
// [Features.External].
func (s *Set) External(name string) bool {
	st, ok := s.Get(name)
	return ok && st.Features().External
}

// NormalPath returns the form of a path in which a store lists the secret, see
// [Store.NormalPath].
func (s *Set) NormalPath(name, path string) string {
	st, ok := s.Get(name)
	if !ok {
		return path
	}
	return st.NormalPath(path)
}

// Describe reads everything about a secret of a store but its values. A store
// that is not in the set is [ErrInvalid].
func (s *Set) Describe(ctx context.Context, name, path string) (secret.Metadata, error) {
	st, ok := s.Get(name)
	if !ok {
		return secret.Metadata{}, fmt.Errorf("%w: there is no store %q", ErrInvalid, name)
	}
	return st.Describe(ctx, path)
}
