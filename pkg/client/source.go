package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// ErrNotConfigured is wrapped by the errors of a [Source] for a secret that is not
// configured.
var ErrNotConfigured = errors.New("secret is not configured")

// Source is where a [Manager] reads secrets. Its methods are called concurrently,
// and their errors wrap the sentinels of pkg/store: a missing version and a store
// that is down are different events for a service.
type Source interface {
	// Spec returns what is configured of a secret.
	Spec(id secret.ID) (secret.Spec, error)
	// Describe reads everything about a secret but its values.
	Describe(ctx context.Context, id secret.ID) (secret.Metadata, error)
	// Read reads one version. With sel.Primary the answer of a replica or a cache is
	// not enough.
	Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error)
}

// FromSpecs returns a Source that reads each secret from the store and the path
// that its spec names. The error joins everything that is wrong with the specs.
func FromSpecs(stores []*store.Store, specs []secret.Spec) (Source, error) {
	set, err := store.NewSet(stores...)
	if err != nil {
		return nil, err
	}
	s := specSource{stores: set, specs: make(map[secret.ID]secret.Spec, len(specs))}
	var errs []error
	for _, spec := range specs {
		errs = append(errs, s.add(spec))
	}
	return s, errors.Join(errs...)
}

type specSource struct {
	stores *store.Set
	specs  map[secret.ID]secret.Spec
}

func (s specSource) add(spec secret.Spec) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	if !s.stores.Has(spec.Store) {
		return fmt.Errorf("%w: %s names the store %q, which is not configured", secret.ErrInvalidSpec, spec.ID, spec.Store)
	}
	if _, ok := s.specs[spec.ID]; ok {
		return fmt.Errorf("%w: two secrets have the id %s", secret.ErrInvalidSpec, spec.ID)
	}
	s.specs[spec.ID] = spec
	return nil
}

func (s specSource) Spec(id secret.ID) (secret.Spec, error) {
	spec, ok := s.specs[id]
	if !ok {
		return secret.Spec{}, fmt.Errorf("%w: %s", ErrNotConfigured, id)
	}
	return spec, nil
}

func (s specSource) Describe(ctx context.Context, id secret.ID) (secret.Metadata, error) {
	spec, err := s.Spec(id)
	if err != nil {
		return secret.Metadata{}, err
	}
	return s.stores.Describe(ctx, spec.Store, spec.StorePath())
}

func (s specSource) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	spec, err := s.Spec(id)
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	st, ok := s.stores.Get(spec.Store)
	if !ok {
		return secret.Version{}, secret.Value{}, fmt.Errorf("%w: there is no store %q", store.ErrInvalid, spec.Store)
	}
	return st.Get(ctx, spec.StorePath(), sel)
}

// Bus is what a [Manager] needs of the bus; *events.Bus is one. fn of
// SubscribeNotify does not block. A Bus may also have Connected, and OnReconnect
// to have missed notifications read after a reconnect.
//
// Join, Renew and WriteUse return nil once the record is stored. The error of Renew
// wraps [events.ErrConflict] when the record that it replaces is gone.
type Bus interface {
	SubscribeNotify(ctx context.Context, service string, fn func(context.Context, events.Delivery)) (stop func(), err error)
	LastNotified(ctx context.Context, service string, id secret.ID) (events.Announcement, error)
	Join(ctx context.Context, p events.Presence) (seq uint64, err error)
	Renew(ctx context.Context, p events.Presence, after uint64) (seq uint64, err error)
	WriteUse(ctx context.Context, u events.Use) error
}
