package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Deleter is implemented by drivers that can delete a secret.
type Deleter interface {
	// Delete removes a secret with all its versions and their values if the current
	// version is the given one, "" for none: else it returns ErrConflict and changes
	// nothing. To delete what is not there is success, and takes away what an interrupted
	// call has left. A service that can restore what was deleted may keep it for a time:
	// until then Describe returns ErrDeleted.
	Delete(ctx context.Context, path string, current secret.VersionID) error
}

// Delete removes a secret, see [Deleter]. The error wraps ErrInvalid when the driver is
// none.
func (s *Store) Delete(ctx context.Context, path string, current secret.VersionID) error {
	return s.call(ctx, "delete", path, slog.LevelInfo, func(ctx context.Context) error {
		d, ok := s.d.(Deleter)
		if !ok {
			return fmt.Errorf("%w: the store deletes no secrets", ErrInvalid)
		}
		return d.Delete(ctx, path, current)
	})
}
