package store

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrUnknownSecret is returned by [Catalog.Lookup] for an id that is not
// configured.
var ErrUnknownSecret = errors.New("secret is not configured")

// Catalog says which secrets are managed and in which store each of them is.
// It is safe for concurrent use.
type Catalog struct {
	stores map[string]*Store

	mu    sync.RWMutex
	specs map[secret.ID]secret.Spec // :: id → what is wanted of it
}

// NewCatalog returns the catalog of the given secrets. It fails when a spec is
// invalid, when two have one id, or when one names a store that is not there.
func NewCatalog(stores []*Store, specs []secret.Spec) (*Catalog, error) {
	c := &Catalog{stores: make(map[string]*Store, len(stores)), specs: make(map[secret.ID]secret.Spec, len(specs))}
	for _, s := range stores {
		if _, ok := c.stores[s.Name()]; ok {
			return nil, fmt.Errorf("two stores are named %q", s.Name())
		}
		c.stores[s.Name()] = s
	}
	var errs []error
	for _, s := range specs {
		errs = append(errs, c.add(s))
	}
	return c, errors.Join(errs...)
}

func (c *Catalog) add(s secret.Spec) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if _, ok := c.stores[s.Store]; !ok {
		return fmt.Errorf("%w: %s names the store %q, which is not configured", secret.ErrInvalidSpec, s.ID, s.Store)
	}
	if s.Strategy == secret.StrategyManaged && !c.stores[s.Store].Manages() {
		return fmt.Errorf("%w: %s is to be rotated by its store, and the store %s runs no rotations itself", secret.ErrInvalidSpec, s.ID, s.Store)
	}
	if _, ok := c.specs[s.ID]; ok {
		return fmt.Errorf("%w: two secrets have the id %s", secret.ErrInvalidSpec, s.ID)
	}
	c.specs[s.ID] = s
	return nil
}

// Lookup returns what is wanted of a secret and the store that has it, or an
// error that wraps [ErrUnknownSecret].
func (c *Catalog) Lookup(id secret.ID) (secret.Spec, *Store, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.specs[id]
	if !ok {
		return secret.Spec{}, nil, fmt.Errorf("%w: %s", ErrUnknownSecret, id)
	}
	return s, c.stores[s.Store], nil
}

// Specs yields every configured secret in the order of the ids.
func (c *Catalog) Specs() iter.Seq[secret.Spec] {
	return func(yield func(secret.Spec) bool) {
		c.mu.RLock()
		ids := make([]secret.ID, 0, len(c.specs))
		for id := range c.specs {
			ids = append(ids, id)
		}
		c.mu.RUnlock()
		slices.Sort(ids)
		for _, id := range ids {
			c.mu.RLock()
			s, ok := c.specs[id]
			c.mu.RUnlock()
			if ok && !yield(s) {
				return
			}
		}
	}
}

// Stores returns the stores of the catalog in the order of their names.
func (c *Catalog) Stores() []*Store {
	out := make([]*Store, 0, len(c.stores))
	for _, s := range c.stores {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *Store) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}
