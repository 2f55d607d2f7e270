package store

// PathNormalizer is implemented by a [Driver] whose service knows a secret by more
// than one path.
type PathNormalizer interface {
	// NormalPath returns the form of a path in which List shows the secret, ""
	// for a path that can name none. It makes no call and is idempotent.
	NormalPath(path string) string
}

// NormalPath returns the form of a path in which [Store.List] shows the secret,
// so that two paths name one secret if their normal forms are equal.
func (s *Store) NormalPath(path string) string {
	if n, ok := s.d.(PathNormalizer); ok {
		return n.NormalPath(path)
	}
	return path
}
