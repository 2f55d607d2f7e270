package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrUnknownSecret is returned by [Catalog.Lookup] for an id that is not
// configured, and by [Catalog.Find] for one that was not discovered either.
var ErrUnknownSecret = errors.New("secret is not configured")

// Locator finds out where the discovered secret with an id is, as whoever listed
// its store has said; the error wraps [ErrUnknownSecret] when nobody has. What
// it says is a hint: the store decides.
type Locator func(ctx context.Context, id secret.ID) (store, path string, err error)

// Catalog says which secrets are managed and in which store each of them is:
// those that a configuration lists, and with [Catalog.Discover] those that say
// so themselves. It is safe for concurrent use.
type Catalog struct {
	stores    map[string]*Store
	discovery map[string]*Discovery // :: store → what is discovered there
	locate    Locator

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

// Discover lets the catalog find secrets that no configuration lists. It is
// called once, before the catalog is used.
func (c *Catalog) Discover(discoveries []*Discovery, locate Locator) error {
	c.discovery, c.locate = make(map[string]*Discovery, len(discoveries)), locate
	for _, d := range discoveries {
		switch _, ok := c.stores[d.Store]; {
		case !ok:
			return fmt.Errorf("discovery names the store %q, which is not configured", d.Store)
		case len(d.Match) == 0:
			return fmt.Errorf("discovery in the store %s matches every secret: name a tag", d.Store)
		}
		d.Manages = c.stores[d.Store].Manages()
		c.discovery[d.Store] = d
	}
	return nil
}

// Discovery returns what is discovered in a store, nil for nothing.
func (c *Catalog) Discovery(store string) *Discovery { return c.discovery[store] }

// Find is [Catalog.Lookup] for discovered secrets too. Of those the spec says
// where they are; what is wanted of them [Catalog.Describe] finds out.
func (c *Catalog) Find(ctx context.Context, id secret.ID) (secret.Spec, *Store, error) {
	spec, st, err := c.Lookup(id)
	if err == nil || c.locate == nil || len(c.discovery) == 0 {
		return spec, st, err
	}
	name, path, lerr := c.locate(ctx, id)
	if lerr != nil {
		return secret.Spec{}, nil, lerr
	}
	if d := c.discovery[name]; d == nil || !strings.HasPrefix(path, d.Prefix) {
		return secret.Spec{}, nil, fmt.Errorf("%w: nothing is discovered at %s in the store %s here", err, path, name)
	}
	return secret.Spec{ID: id, Store: name, Path: path}, c.stores[name], nil
}

// Describe reads a secret that [Catalog.Find] found, and returns what is wanted
// of it now: of a configured one what the configuration says, of a discovered
// one what its tags say at this moment. One that is gone, or has opted out, or
// has another id now gives [ErrUnknownSecret]; one whose tags cannot be carried
// out [ErrInvalidTags].
func (c *Catalog) Describe(ctx context.Context, spec secret.Spec) (secret.Spec, secret.Metadata, error) {
	st, ok := c.stores[spec.Store]
	if !ok {
		return spec, secret.Metadata{}, fmt.Errorf("%w: %s: there is no store %q", ErrUnknownSecret, spec.ID, spec.Store)
	}
	m, err := st.Describe(ctx, spec.StorePath())
	if _, _, unlisted := c.Lookup(spec.ID); unlisted == nil {
		return spec, m, err
	}
	if errors.Is(err, ErrNotFound) {
		return spec, m, fmt.Errorf("%w: %s was discovered, and is not there any more", ErrUnknownSecret, spec.ID)
	}
	if err != nil {
		return spec, m, err
	}
	d := c.discovery[spec.Store]
	if !d.Matches(m.Path, m.Attributes) {
		return spec, m, fmt.Errorf("%w: %s was discovered, and its tags do not say so any more", ErrUnknownSecret, spec.ID)
	}
	now, problems := d.Spec(m)
	switch {
	case now.ID != "" && now.ID != spec.ID:
		return spec, m, fmt.Errorf("%w: %s was discovered, and is called %s now", ErrUnknownSecret, spec.ID, now.ID)
	case len(problems) > 0:
		return spec, m, fmt.Errorf("%s: %w", spec.ID, invalid(problems))
	}
	return now, m, nil
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
