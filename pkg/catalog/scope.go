package catalog

import "strings"

// Scope says which secrets of a store are managed, so that a driver need not ask
// its service about others when it lists: it is a store.Scope. It follows the
// changes of its catalog.
type Scope struct {
	catalog *Catalog
	store   string
}

// Scope returns the scope of a store. The store need not be open yet.
func (c *Catalog) Scope(store string) *Scope { return &Scope{c, store} }

// Folder reports whether there can be managed secrets below a folder, which ends
// in a slash.
func (s *Scope) Folder(folder string) bool {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	d := s.catalog.discoveries[s.store]
	return s.catalog.folders[s.store][folder] > 0 || d != nil && (strings.HasPrefix(folder, d.Prefix) || strings.HasPrefix(d.Prefix, folder))
}

// Path reports whether the secret at a path can be managed, as far as its path
// tells.
func (s *Scope) Path(path string) bool {
	configured, d := s.at(path)
	return configured || d.Covers(path)
}

// Secret reports whether a secret is managed.
func (s *Scope) Secret(path string, attributes map[string]string) bool {
	configured, d := s.at(path)
	return configured || d.Matches(path, attributes)
}

func (s *Scope) at(path string) (configured bool, d *Discovery) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	r := s.catalog.places[s.store][path]
	return r != nil && r.origin == Configured, s.catalog.discoveries[s.store]
}
