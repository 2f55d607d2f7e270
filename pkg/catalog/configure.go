package catalog

import (
	"reflect"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Configure has the configuration list the given secrets, and discovers what is given,
// in place of what was listed and discovered before. With an error, which says what is
// wrong with them, nothing changes. A secret that is not among them any more becomes
// [Removed].
func (c *Catalog) Configure(specs []secret.Spec, discoveries ...*Discovery) error {
	next, err := New(Config{Stores: c.stores, Specs: specs, Discoveries: discoveries})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discoveries = next.discoveries
	var removed []secret.Spec
	for id, was := range c.ids {
		if is, ok := next.ids[id]; ok && !reflect.DeepEqual(was.spec(), is.spec()) || was.origin == Configured && !ok {
			c.remove(was)
			if !ok {
				removed = append(removed, was.spec())
			}
		}
	}
	for _, spec := range removed {
		c.keep(spec)
	}
	for id, r := range next.ids {
		if was := c.ids[id]; was == nil || was.origin != Configured {
			c.list(r.spec())
		}
	}
	return nil
}

// Keep adds a secret that a configuration listed once, unless its id has an entry.
func (c *Catalog) Keep(spec secret.Spec) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ids[spec.ID] == nil {
		c.keep(spec)
	}
}

// keep adds an entry that leaves its place to any other; c.mu is held.
func (c *Catalog) keep(spec secret.Spec) {
	spec.Disabled = true
	at := c.places[spec.Store][c.normal(spec.Store, spec.StorePath())]
	c.set(Entry{Spec: spec, Origin: Removed})
	if at != nil {
		c.places[spec.Store][c.normal(spec.Store, spec.StorePath())] = at
	}
}

// list puts a configured entry in place of any with its id or at its place; c.mu is
// held.
func (c *Catalog) list(spec secret.Spec) {
	if r := c.ids[spec.ID]; r != nil {
		c.remove(r)
	}
	if r := c.places[spec.Store][c.normal(spec.Store, spec.StorePath())]; r != nil && r.origin == Discovered {
		c.remove(r)
	}
	c.set(Entry{Spec: spec, Origin: Configured})
}

// listed returns the entry of an id that a configuration lists or has listed.
func (c *Catalog) listed(id secret.ID) (Entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.ids[id]
	if !ok || r.origin == Discovered {
		return Entry{}, false
	}
	return Entry{Spec: r.spec(), Origin: r.origin}, true
}
