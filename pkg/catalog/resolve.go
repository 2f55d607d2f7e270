package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Resolve returns the entry of a secret that its store describes or lists, and
// false for one that is not managed. The configuration comes before the tags of
// the secret: where these say something else, the entry has a finding.
//
// Whether another discovered secret has the id, only the log knows: see
// [Catalog.Collision].
func (c *Catalog) Resolve(store string, m secret.Metadata) (Entry, bool) {
	path := c.normal(store, m.Path)
	c.mu.RLock()
	d := c.discoveries[store]
	r := c.places[store][path]
	c.mu.RUnlock()
	if r != nil && r.origin == Configured {
		e, _ := r.entry()
		e.Findings = append(d.Conflicts(e.Spec, m), e.Spec.Unkept(m)...)
		return e, true
	}
	if path != m.Path || !d.Matches(m.Path, m.Attributes) {
		return Entry{}, false
	}
	e := Entry{Origin: Discovered}
	if e.Spec, e.Findings = d.Spec(m); len(e.Findings) == 0 {
		e.Findings = e.Spec.Unkept(m)
	}
	if owner, ok := c.configured(e.Spec.ID); ok {
		e.Findings = append(e.Findings, collision(e.Spec, owner))
	}
	return e, true
}

// MayDiscover reports whether a secret may be discovered at a path of a store,
// as far as its path tells.
func (c *Catalog) MayDiscover(store, path string) bool {
	normal := c.normal(store, path)
	c.mu.RLock()
	defer c.mu.RUnlock()
	r := c.places[store][normal]
	return normal == path && c.discoveries[store].Covers(path) && (r == nil || r.origin != Configured)
}

// Collision returns the finding about a discovered secret whose id belongs to
// another one, nil for none. The id belongs to the secret that the configuration
// lists under it, else to announced, which the log says was discovered under it
// first, as long as that one may still be discovered here. The zero Spec is for
// a log that says nothing.
func (c *Catalog) Collision(spec, announced secret.Spec) *secret.Finding {
	owner, ok := c.configured(spec.ID)
	if !ok {
		owner = announced
		if owner.ID == "" || owner.Store == spec.Store && owner.Path == spec.Path || !c.Discovery(owner.Store).Covers(owner.Path) {
			return nil
		}
	}
	f := collision(spec, owner)
	return &f
}

func collision(spec, owner secret.Spec) secret.Finding {
	return secret.Finding{
		Code: CodeCollision, Severity: secret.SeverityError,
		Message: fmt.Sprintf("the id %s belongs to %s in the store %s", spec.ID, owner.StorePath(), owner.Store),
		Remedy:  "give this one another with rotator:id",
	}
}

// Find returns the entry of an id, also of one that is [Removed]. That of a discovered secret has the id and
// the place alone, as a hint: [Catalog.Describe] asks the store. The error wraps
// [ErrUnknownSecret].
func (c *Catalog) Find(ctx context.Context, id secret.ID) (Entry, error) {
	if e, ok := c.listed(id); ok {
		return e, nil
	}
	unknown := fmt.Errorf("%w: %s", ErrUnknownSecret, id)
	if c.locate == nil || !c.discovers() {
		return Entry{}, unknown
	}
	store, path, err := c.locate(ctx, id)
	if err != nil {
		return Entry{}, err
	}
	if !c.MayDiscover(store, path) {
		return Entry{}, fmt.Errorf("%w: nothing is discovered at %s in the store %s here", unknown, path, store)
	}
	return Entry{Spec: secret.Spec{ID: id, Store: store, Path: path}, Origin: Discovered}, nil
}

// Describe reads the secret that a spec names by id and place, and returns what
// is configured for it now: for a configured secret what the configuration says,
// for a discovered one what its tags say at this moment, and for a [Removed] one what the
// configuration said. A discovered one that
// is gone, has opted out or has another id now gives [ErrUnknownSecret]; one
// whose tags cannot be carried out gives [ErrInvalidTags]. A configured one that
// its store does not know gives [secret.ErrNotFound].
//
// With an error the entry has the given spec.
func (c *Catalog) Describe(ctx context.Context, spec secret.Spec) (Entry, secret.Metadata, error) {
	e := Entry{Spec: spec, Origin: Discovered}
	known, listed := c.listed(spec.ID)
	now := known.Spec
	if listed {
		e.Origin = known.Origin
	}
	switch {
	case c.stores == nil:
		return e, secret.Metadata{}, errNoStores
	case !c.stores.Has(spec.Store):
		return e, secret.Metadata{}, fmt.Errorf("%w: %s: there is no store %q", ErrUnknownSecret, spec.ID, spec.Store)
	case listed && !c.samePlace(now, spec):
		return e, secret.Metadata{}, fmt.Errorf("%w: %s is not configured at %s in the store %s any more", ErrUnknownSecret, spec.ID, spec.StorePath(), spec.Store)
	case listed:
		e.Spec = now
	}
	m, err := c.stores.Describe(ctx, spec.Store, spec.StorePath())
	switch {
	case err == nil:
	case errors.Is(err, secret.ErrNotFound) && !listed:
		return e, m, fmt.Errorf("%w: %s was discovered, and is not there any more", ErrUnknownSecret, spec.ID)
	default:
		return e, m, err
	}
	if listed {
		e.Findings = append(c.Discovery(spec.Store).Conflicts(e.Spec, m), e.Spec.Unkept(m)...)
		return e, m, nil
	}
	found, err := c.rediscover(spec, m)
	if err != nil {
		return e, m, err
	}
	return found, m, nil
}

func (c *Catalog) samePlace(a, b secret.Spec) bool {
	return a.Store == b.Store && c.normal(a.Store, a.StorePath()) == c.normal(b.Store, b.StorePath())
}

// rediscover returns what the tags of a discovered secret say now.
func (c *Catalog) rediscover(spec secret.Spec, m secret.Metadata) (Entry, error) {
	e, ok := c.Resolve(spec.Store, m)
	switch {
	case !ok:
		return e, fmt.Errorf("%w: %s was discovered, and its tags do not say so any more", ErrUnknownSecret, spec.ID)
	case e.Spec.ID != "" && e.Spec.ID != spec.ID:
		return e, fmt.Errorf("%w: %s was discovered, and is called %s now", ErrUnknownSecret, spec.ID, e.Spec.ID)
	default:
		return e, e.Err()
	}
}

// Err returns the findings about a discovered secret as an error that wraps
// [ErrInvalidTags], nil for a secret that can be rotated.
func (e Entry) Err() error {
	if e.Origin != Discovered || !e.Refused() {
		return nil
	}
	var texts []string
	for _, f := range e.Findings {
		if f.Severity == secret.SeverityError {
			texts = append(texts, f.String())
		}
	}
	return fmt.Errorf("%s: %w: %s", e.Spec.ID, ErrInvalidTags, strings.Join(texts, "; "))
}
