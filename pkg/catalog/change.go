package catalog

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrTaken is wrapped by the error for an entry whose id or place belongs to
// another one.
var ErrTaken = fmt.Errorf("%w: two secrets are one", secret.ErrInvalidSpec)

// record is an entry as a catalog keeps it. It never changes. There may be a
// million discovered ones, most of which share their settings.
type record struct {
	id   secret.ID
	path string
	*settings
	findings []secret.Finding
}

// settings are what secrets may have in common.
type settings struct {
	common secret.Spec // without ID and Path
	origin Origin
}

// maxSettings bounds how many settings are offered for sharing.
const maxSettings = 10_000

// settingsKey is equal for discovered entries whose settings are equal.
type settingsKey struct {
	store, services     string
	proof               string
	ttl, margin, jitter time.Duration
	windows             *secret.Window // windows that were parsed once are shared
	lenWindows          int
	freezes             *secret.Freeze // those of one configuration are the same
	strategy            secret.Strategy
	policy              *secret.Policy
	rollout             secret.RolloutMode
	grace, deadline     time.Duration
	fence               time.Duration
	retire              secret.RetireMode
	create, disabled    bool
	notes               [3]string // owner, purpose, contact
}

func (r *record) spec() secret.Spec {
	spec := r.common
	spec.ID, spec.Path = r.id, r.path
	return spec
}

// entry returns the entry; false for nil.
func (r *record) entry() (Entry, bool) {
	if r == nil {
		return Entry{}, false
	}
	return Entry{Spec: r.spec(), Origin: r.origin, Findings: r.findings}, true
}

func keyOf(s secret.Spec) settingsKey {
	k := settingsKey{
		store: s.Store, services: strings.Join(s.Services, " "), proof: s.Proof.Of(s.Services).String(), ttl: s.TTL, margin: s.RefreshMargin, jitter: s.MaxJitter, lenWindows: len(s.Windows),
		strategy: s.Strategy, policy: s.Policy, rollout: s.Rollout, grace: s.Grace, deadline: s.Deadline, fence: s.Fence, retire: s.Retire,
		create: s.Create, disabled: s.Disabled, notes: [3]string{s.Owner, s.Purpose, s.Contact},
	}
	if len(s.Windows) > 0 {
		k.windows = &s.Windows[0]
	}
	if len(s.Freezes) > 0 {
		k.freezes = s.Freezes[0]
	}
	return k
}

// record returns e as it is kept; c.mu is held.
func (c *Catalog) record(e Entry) *record {
	common := e.Spec
	common.ID, common.Path = "", ""
	r := &record{id: e.Spec.ID, path: e.Spec.Path, findings: e.Findings}
	if r.path == string(r.id) {
		r.path = string(r.id) // one string, not two
	}
	if e.Origin == Configured {
		r.settings = &settings{common, Configured}
		return r
	}
	key := keyOf(common)
	shared, ok := c.settings[key]
	if !ok {
		if len(c.settings) >= maxSettings {
			clear(c.settings) // entries keep what they have
		}
		shared = &settings{common, e.Origin}
		c.settings[key] = shared
	}
	r.settings = shared
	return r
}

// Add adds an entry. The error wraps [ErrTaken] if its id or its place has one
// already, and [secret.ErrInvalidSpec] if the entry is wrong in another way.
func (c *Catalog) Add(e Entry) error {
	if err := c.check(e); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.ids[e.Spec.ID]; ok {
		return taken(e.Spec, "id", r.spec())
	}
	if r, ok := c.places[e.Spec.Store][c.normal(e.Spec.Store, e.Spec.StorePath())]; ok {
		return taken(e.Spec, "place", r.spec())
	}
	c.set(e)
	return nil
}

// Replace adds an entry in place of the one that its id has. A configured entry
// also replaces a discovered one at its place. The error wraps [ErrTaken] if a
// configured entry has the place, or the id of a discovered one.
//
// A discovered secret whose id has changed is at one place with two ids until
// [Catalog.Remove] takes the old one away; [Catalog.At] returns the new one.
func (c *Catalog) Replace(e Entry) error {
	if err := c.check(e); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.ids[e.Spec.ID]; ok && r.origin == Configured && e.Origin != Configured {
		return taken(e.Spec, "id", r.spec())
	}
	if r, ok := c.places[e.Spec.Store][c.normal(e.Spec.Store, e.Spec.StorePath())]; ok && r.id != e.Spec.ID {
		switch {
		case r.origin == Configured:
			return taken(e.Spec, "place", r.spec())
		case e.Origin == Configured:
			c.remove(r)
		}
	}
	if r, ok := c.ids[e.Spec.ID]; ok {
		c.remove(r)
	}
	c.set(e)
	return nil
}

// Remove removes the entry of an id if it has the given origin, and reports
// whether it did.
func (c *Catalog) Remove(id secret.ID, origin Origin) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.ids[id]
	if !ok || r.origin != origin {
		return false
	}
	c.remove(r)
	return true
}

// check returns what is wrong with an entry by itself.
func (c *Catalog) check(e Entry) error {
	s := e.Spec
	if err := s.Validate(); err != nil {
		return err
	}
	switch normal := c.normal(s.Store, s.StorePath()); {
	case e.Origin != Configured && e.Origin != Discovered:
		return fmt.Errorf("%w: %s has the origin %q", secret.ErrInvalidSpec, s.ID, e.Origin)
	case c.stores == nil || e.Origin == Discovered: // its place is a hint
		return nil
	case !c.stores.Has(s.Store):
		return fmt.Errorf("%w: %s names the store %q, which is not configured", secret.ErrInvalidSpec, s.ID, s.Store)
	case s.Strategy == secret.StrategyExternal && !c.stores.External(s.Store):
		return fmt.Errorf("%w: %s is to be rotated by its store, and the store %s runs no rotations itself", secret.ErrInvalidSpec, s.ID, s.Store)
	case normal == "":
		return fmt.Errorf("%w: %s: the path %q names no secret in the store %s", secret.ErrInvalidSpec, s.ID, s.StorePath(), s.Store)
	default:
		return nil
	}
}

func taken(s secret.Spec, what string, owner secret.Spec) error {
	if what == "id" {
		return fmt.Errorf("%w: the id %s is that of %s in the store %s", ErrTaken, s.ID, owner.StorePath(), owner.Store)
	}
	return fmt.Errorf("%w: %s and %s are both at %s in the store %s", ErrTaken, owner.ID, s.ID, owner.StorePath(), s.Store)
}

// set puts an entry in; c.mu is held.
func (c *Catalog) set(e Entry) {
	r := c.record(e)
	store, path := e.Spec.Store, c.normal(e.Spec.Store, e.Spec.StorePath())
	if c.places[store] == nil {
		c.places[store], c.folders[store] = map[string]*record{}, map[string]int{}
	}
	c.ids[r.id], c.places[store][path] = r, r
	c.count(r, path, 1)
	c.changed(r.id)
}

// remove takes an entry out; c.mu is held.
func (c *Catalog) remove(r *record) {
	store, spec := r.common.Store, r.spec()
	path := c.normal(store, spec.StorePath())
	delete(c.ids, r.id)
	if c.places[store][path] == r {
		delete(c.places[store], path)
	}
	c.count(r, path, -1)
	c.changed(r.id)
}

// count counts the configured secrets below each folder; c.mu is held.
func (c *Catalog) count(r *record, path string, by int) {
	if r.origin != Configured {
		return
	}
	folders := c.folders[r.common.Store]
	for i := range len(path) {
		if path[i] != '/' {
			continue
		}
		if folders[path[:i+1]] += by; folders[path[:i+1]] == 0 {
			delete(folders, path[:i+1])
		}
	}
}

// errNoStores is returned by a catalog that has no stores to read.
var errNoStores = errors.New("catalog: this program opens no store")
