package store

import "strings"

// Scope says which secrets of a store somebody cares for, so that a driver need
// not ask about others when it lists. Nil is all of them.
type Scope struct {
	paths   map[string]struct{}
	folders map[string]struct{} // that have one of paths below them
	found   *Discovery
}

// NewScope returns the scope of the secrets at the given paths and of those
// that d, if it is not nil, discovers.
func NewScope(paths []string, d *Discovery) *Scope {
	s := &Scope{paths: map[string]struct{}{}, folders: map[string]struct{}{}, found: d}
	for _, path := range paths {
		s.paths[path] = struct{}{}
		for i, c := range path {
			if c == '/' {
				s.folders[path[:i+1]] = struct{}{}
			}
		}
	}
	return s
}

// Folder reports whether there can be secrets below a folder, which ends in a
// slash.
func (s *Scope) Folder(folder string) bool {
	if s == nil {
		return true
	}
	_, ok := s.folders[folder]
	return ok || s.found != nil && (strings.HasPrefix(folder, s.found.Prefix) || strings.HasPrefix(s.found.Prefix, folder))
}

// Path reports whether the secret at a path can be one of them, as far as its
// path tells.
func (s *Scope) Path(path string) bool {
	if s == nil {
		return true
	}
	_, ok := s.paths[path]
	return ok || s.found != nil && strings.HasPrefix(path, s.found.Prefix)
}

// Secret reports whether a secret is one of them.
func (s *Scope) Secret(path string, attributes map[string]string) bool {
	if s == nil {
		return true
	}
	_, ok := s.paths[path]
	return ok || s.found != nil && s.found.Matches(path, attributes)
}
