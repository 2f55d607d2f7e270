package catalog

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

// ErrUnknownSecret is wrapped by the error for a secret that is neither
// configured nor, where the method looks for that, discovered.
var ErrUnknownSecret = errors.New("secret is not configured")

// Origin says where an [Entry] comes from.
type Origin string

// The origins.
const (
	// Configured: a configuration lists the secret.
	Configured Origin = "configured"
	// Discovered: the secret's own tags say that it is managed.
	Discovered Origin = "discovered"
	// Removed: a configuration listed the secret, and lists it no longer. It is rotated
	// when a person asks for it, never by schedule, and its rollouts are followed to their
	// end.
	Removed Origin = "removed"
)

// Entry is one managed secret.
type Entry struct {
	// Spec is what is configured for the secret.
	Spec   secret.Spec
	Origin Origin
	// Findings are what its owner has to correct in its tags, the Subject of each
	// being the tag, "" for several or none, and what its store cannot keep, see
	// [secret.Spec.Unkept]. A discovered secret that has an error among them must not
	// be rotated, and its Spec.ID is "" if its tags give none that is valid.
	Findings []secret.Finding
}

// Has reports whether the entry has a finding with a code.
func (e Entry) Has(code secret.FindingCode) bool {
	return slices.ContainsFunc(e.Findings, func(f secret.Finding) bool { return f.Code == code })
}

// Refused reports whether a finding keeps the secret from being rotated, if it is a
// discovered one.
func (e Entry) Refused() bool {
	return slices.ContainsFunc(e.Findings, func(f secret.Finding) bool { return f.Severity == secret.SeverityError })
}

// Stores is what a catalog has to know of the stores; *store.Set is one. Its
// methods are safe for concurrent use, and all but Describe make no call.
type Stores interface {
	// Has reports whether there is a store of this name.
	Has(store string) bool
	// External reports whether the store's service can rotate a secret itself.
	External(store string) bool
	// NormalPath returns the form of a path in which the store lists the secret.
	// It is idempotent.
	NormalPath(store, path string) string
	// Describe reads everything about a secret but its values. The error wraps
	// [secret.ErrNotFound] when the store does not know the path.
	Describe(ctx context.Context, store, path string) (secret.Metadata, error)
}

// Locator returns where a discovered secret was last said to be; the error wraps
// [ErrUnknownSecret] when nothing was said. The place is a hint.
type Locator func(ctx context.Context, id secret.ID) (store, path string, err error)

// Config is what a [Catalog] begins with. Its zero value is an empty catalog.
type Config struct {
	// Stores are those that entries may name. With nil every name is taken,
	// paths are normal as they are, and [Catalog.Describe] fails: that is for a
	// program that opens no store.
	Stores Stores
	// Specs are the configured secrets.
	Specs []secret.Spec
	// Discoveries say which other secrets are managed, at most one for a store.
	Discoveries []*Discovery
	// Locate finds discovered secrets by their ids. Nil finds none.
	Locate Locator
}

// Catalog says which secrets are managed and what is configured for each. It is
// safe for concurrent use.
type Catalog struct {
	stores Stores
	locate Locator

	mu          sync.RWMutex
	ids         map[secret.ID]*record
	places      map[string]map[string]*record // :: store → normal path → entry
	folders     map[string]map[string]int     // :: store → folder → configured paths below it
	discoveries map[string]*Discovery         // :: store → what is discovered there
	settings    map[settingsKey]*settings     // shared by discovered entries
	watchers    map[*watcher]struct{}
}

// New returns a catalog of the given secrets. The error joins everything that is
// wrong with them; the catalog has the others all the same.
func New(cfg Config) (*Catalog, error) {
	c := &Catalog{
		stores: cfg.Stores, locate: cfg.Locate, ids: make(map[secret.ID]*record, len(cfg.Specs)), places: map[string]map[string]*record{},
		folders: map[string]map[string]int{}, discoveries: map[string]*Discovery{}, settings: map[settingsKey]*settings{}, watchers: map[*watcher]struct{}{},
	}
	errs := []error{c.Discover(cfg.Discoveries...)}
	for _, spec := range cfg.Specs {
		errs = append(errs, c.Add(Entry{Spec: spec, Origin: Configured}))
	}
	return c, errors.Join(errs...)
}

// Discover has secrets discovered, in place of what was discovered in the same
// stores before.
func (c *Catalog) Discover(discoveries ...*Discovery) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range discoveries {
		switch {
		case c.stores != nil && !c.stores.Has(d.Store):
			return fmt.Errorf("discovery names the store %q, which is not configured", d.Store)
		case len(d.Match) == 0:
			return fmt.Errorf("discovery in the store %s matches every secret: name a tag", d.Store)
		}
		d.external, d.Prefix = c.external(d.Store), c.normalPrefix(d.Store, d.Prefix)
		c.discoveries[d.Store] = d
	}
	return nil
}

// Discovery returns what is discovered in a store, nil for nothing.
func (c *Catalog) Discovery(store string) *Discovery {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.discoveries[store]
}

// discovers reports whether secrets are discovered in any store.
func (c *Catalog) discovers() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.discoveries) > 0
}

// Lookup returns the entry of an id.
func (c *Catalog) Lookup(id secret.ID) (Entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.ids[id].entry()
}

// Spec returns what is configured for the secret with an id. It is cheap enough
// to be called with a lock held.
func (c *Catalog) Spec(id secret.ID) (secret.Spec, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.ids[id]
	if !ok {
		return secret.Spec{}, false
	}
	return r.spec(), true
}

// configured returns the spec of an id that a configuration lists.
func (c *Catalog) configured(id secret.ID) (secret.Spec, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.ids[id]
	if !ok || r.origin != Configured {
		return secret.Spec{}, false
	}
	return r.spec(), true
}

// At returns the entry of the secret at a path of a store, in whichever form the
// path is.
func (c *Catalog) At(store, path string) (Entry, bool) {
	path = c.normal(store, path)
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.places[store][path].entry()
}

// Manages reports whether a store has configured secrets, or may have discovered
// ones.
func (c *Catalog) Manages(store string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.places[store]) > 0 || c.discoveries[store] != nil
}

// Entries yields every entry in the order of the ids. What changes meanwhile may
// be yielded or not.
func (c *Catalog) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		c.mu.RLock()
		records := make([]*record, 0, len(c.ids))
		for _, r := range c.ids {
			records = append(records, r)
		}
		c.mu.RUnlock()
		slices.SortFunc(records, func(a, b *record) int { return strings.Compare(string(a.id), string(b.id)) })
		each(records, yield)
	}
}

// In is [Catalog.Entries] for one store, in no order.
func (c *Catalog) In(store string) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		c.mu.RLock()
		records := make([]*record, 0, len(c.places[store]))
		for _, r := range c.places[store] {
			records = append(records, r)
		}
		c.mu.RUnlock()
		each(records, yield)
	}
}

func each(records []*record, yield func(Entry) bool) {
	for _, r := range records {
		if e, _ := r.entry(); !yield(e) {
			return
		}
	}
}

func (c *Catalog) external(store string) bool { return c.stores != nil && c.stores.External(store) }

// normalPrefix returns the normal form of the beginning of paths.
func (c *Catalog) normalPrefix(store, prefix string) string {
	const rest = "x" // keeps a slash at the end
	if prefix == "" {
		return ""
	}
	return strings.TrimSuffix(c.normal(store, prefix+rest), rest)
}

func (c *Catalog) normal(store, path string) string {
	if c.stores == nil {
		return path
	}
	return c.stores.NormalPath(store, path)
}
