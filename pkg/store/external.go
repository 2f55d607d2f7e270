package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ExternalRotator is implemented by drivers whose service can rotate a secret
// itself, such as AWS through a rotation Lambda.
type ExternalRotator interface {
	// Trigger starts the rotation that the service has configured for the secret,
	// and returns before it ends. The token becomes the id of the version that is
	// made, which is pending first. Triggering a rotation that runs or has ended
	// changes nothing. While this or another rotation runs, the error may wrap
	// ErrPending. It wraps ErrInvalid when the secret has no rotation configured.
	Trigger(ctx context.Context, path string, token secret.Token) error
}

// Trigger starts a rotation that the service runs, see [ExternalRotator]. The
// error wraps ErrInvalid when the driver is none.
func (s *Store) Trigger(ctx context.Context, path string, token secret.Token) error {
	return s.call(ctx, "trigger", path, slog.LevelDebug, func(ctx context.Context) error {
		m, ok := s.d.(ExternalRotator)
		switch {
		case !ok:
			return fmt.Errorf("%w: the store runs no rotations itself", ErrInvalid)
		case token == "" || secret.VersionID(token).Validate() != nil:
			return fmt.Errorf("%w: the rotation token is missing or malformed", ErrInvalid)
		}
		return m.Trigger(ctx, path, token)
	})
}
