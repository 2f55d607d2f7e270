package store

// Scope says which secrets of a store are wanted, so that a driver need not ask
// its service about others when it lists. It may change at any time, and is safe
// for concurrent use.
type Scope interface {
	// Folder reports whether there can be such secrets below a folder, which ends
	// in a slash.
	Folder(folder string) bool
	// Path reports whether the secret at a path can be one of them, as far as its
	// path tells.
	Path(path string) bool
	// Secret reports whether a secret is one of them.
	Secret(path string, attributes map[string]string) bool
}

// Everything is the [Scope] of all secrets.
type Everything struct{}

// Folder implements [Scope].
func (Everything) Folder(string) bool { return true }

// Path implements [Scope].
func (Everything) Path(string) bool { return true }

// Secret implements [Scope].
func (Everything) Secret(string, map[string]string) bool { return true }
