package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Managing is what a [Driver] can do besides if its service has secrets rotated
// by somebody whom the secret itself names, as AWS has them rotated by Lambda
// functions.
type Managing interface {
	// Trigger has the service begin a rotation by what is configured at the
	// secret there, and returns before it ends. The token becomes the id of the
	// version that is made, which is pending first. Triggering again what runs or
	// has ended changes nothing; while a rotation runs, this one or another, it
	// may be ErrPending. ErrInvalid when the secret has no rotation configured.
	Trigger(ctx context.Context, path string, token secret.Token) error
}

// Manages reports whether the driver is [Managing].
func (s *Store) Manages() bool {
	_, ok := s.d.(Managing)
	return ok
}

// Trigger begins a rotation that the service runs, see [Managing]. ErrInvalid
// when the store cannot.
func (s *Store) Trigger(ctx context.Context, path string, token secret.Token) error {
	return s.call(ctx, "trigger", path, slog.LevelDebug, func(ctx context.Context) error {
		m, ok := s.d.(Managing)
		switch {
		case !ok:
			return fmt.Errorf("%w: the store runs no rotations itself", ErrInvalid)
		case token == "" || secret.VersionID(token).Validate() != nil:
			return fmt.Errorf("%w: the rotation token is missing or malformed", ErrInvalid)
		}
		return m.Trigger(ctx, path, token)
	})
}
