package operator

import (
	"context"
	"errors"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// listedOnce adds to the catalog the secrets that the log knows, that are still in their
// stores, and that no configuration lists and no store offers any more: programs forget
// them when they are started again. One whose path in its store is not its ID is not
// found: the log has no paths.
func listedOnce(ctx context.Context, p *wire.Parts) error {
	rotated, err := p.Bus.RotatedKeys(ctx)
	if err != nil {
		return err
	}
	discovered, err := p.Bus.DiscoveredKeys(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for key := range rotated {
		id, err := secret.IDFromKey(key)
		if _, offered := discovered[key]; err != nil || offered {
			continue
		}
		if _, known := p.Catalog.Lookup(id); known {
			continue
		}
		errs = append(errs, keepListed(ctx, p, id))
	}
	return errors.Join(errs...)
}

// keepListed adds a secret to the catalog if it is in the store that the log names.
func keepListed(ctx context.Context, p *wire.Parts, id secret.ID) error {
	last, err := p.Bus.Last(ctx, events.TypeRotated, id)
	if errors.Is(err, events.ErrUntrusted) {
		return nil // nothing is known of where it is
	}
	if err != nil {
		return err
	}
	spec := secret.Spec{ID: id, Store: last.Event.Data.Store}
	if _, ok := p.Stores.Get(spec.Store); !ok {
		return nil
	}
	meta, err := p.Stores.Describe(ctx, spec.Store, spec.StorePath())
	if errors.Is(err, store.ErrNotFound) || err == nil && len(meta.Versions) == 0 {
		return nil
	}
	if err == nil {
		p.Catalog.Keep(spec)
	}
	return err
}
