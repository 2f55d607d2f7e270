package store

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Features declare what a driver and its service can do. They are the same for
// every store of a type, so a configuration can be checked against them without
// opening a store: each driver package has a function Features besides the
// method. The zero value is a store that can be written and has none of the
// features below.
//
// The conformance suite proves each feature that a driver declares.
type Features struct {
	// ReadOnly: Put, Promote and Retire fail with [ErrReadOnly].
	ReadOnly bool
	// KeepsExpiry: the store keeps the end of [Write.End] with each version.
	KeepsExpiry bool
	// KeepsRetired: the value of a version that lost its stage stays readable by
	// the version's id, unless Retire removed it or the service keeps a limited
	// number of versions.
	KeepsRetired bool
	// Deletes: Retire removes the value, unless its mode is
	// [secret.RetireKeep].
	Deletes bool
	// DeletesAll: the driver is a [Deleter].
	DeletesAll bool
	// Fenced: the driver is a [FencedRetirer]. Of any other the current version is
	// read again right before it retires one.
	Fenced bool
	// Attributes: Describe and List return the tags or custom metadata of a
	// secret, so that secrets can be discovered.
	Attributes bool
	// External: the service can rotate a secret itself; the driver is an
	// [ExternalRotator].
	External bool
	// Keyset: the driver seals values with a keyset of its own and is a
	// [KeysetRotator].
	Keyset bool
	// OnBus: the store is on the message bus and needs a connection to it.
	OnBus bool
	// EventSource is the source that the service's change events have in Amazon
	// EventBridge, "" for a service without such events. The driver is a
	// [PathNormalizer] that understands how these events name a secret.
	EventSource string
}

// KeysetRotator is implemented by drivers that seal values with a keyset of their
// own.
type KeysetRotator interface {
	// RotateKeyset adds a fresh key, seals every value with it and removes the
	// older keys. Values stay readable throughout. It may be repeated.
	RotateKeyset(ctx context.Context) error
}

// FencedRetirer is implemented by drivers that can retire a version on condition.
type FencedRetirer interface {
	// RetireWhile is [Driver.Retire] if the current version is the given one when it
	// takes effect, in one step: else it returns ErrConflict and changes nothing.
	RetireWhile(ctx context.Context, path string, v secret.VersionID, mode secret.RetireMode, current secret.VersionID) error
}

// RetireWhile retires a version if the current one is what the caller thinks, so
// that a proof about that version is not applied to a later state. It is atomic
// where the driver declares Fenced. ErrConflict when another version is current.
func (s *Store) RetireWhile(ctx context.Context, path string, v secret.VersionID, mode secret.RetireMode, current secret.VersionID) error {
	return s.call(ctx, "retire", path, slog.LevelDebug, func(ctx context.Context) error {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		mode := cmp.Or(mode, secret.RetireDelete)
		if f, ok := s.d.(FencedRetirer); ok {
			return f.RetireWhile(ctx, path, v, mode, current)
		}
		m, err := s.d.Describe(ctx, path)
		if err != nil {
			return err
		}
		if cur := m.Current().ID; cur != current {
			return fmt.Errorf("%w: the current version is %q, not %q", ErrConflict, cur, current)
		}
		return s.d.Retire(ctx, path, v, mode)
	})
}

// Features returns what the driver declares.
func (s *Store) Features() Features { return s.d.Features() }
