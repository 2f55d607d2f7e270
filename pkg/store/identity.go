package store

import (
	"context"
	"fmt"
)

// Identifier is implemented by a [Driver] whose service can say as whom it is called.
type Identifier interface {
	// Identity returns the name by which the log of the service calls the reader, ""
	// if no name of it is its own.
	Identity(ctx context.Context) (string, error)
}

// Identity returns as whom the store reads, "" if that is not known.
func (s *Store) Identity(ctx context.Context) (identity string, err error) {
	d, ok := s.d.(Identifier)
	if !ok {
		return "", nil
	}
	err = s.timed(func(ctx context.Context) (err error) {
		identity, err = d.Identity(ctx)
		return err
	})(ctx)
	if err != nil {
		return "", fmt.Errorf("store %s: identify: %w", s.name, err)
	}
	return identity, nil
}
