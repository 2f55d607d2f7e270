package operator

import (
	"context"
	"errors"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// listedOnce adds to the catalog the secrets of [inspect.ListedOnce] that are still in
// their stores.
func listedOnce(ctx context.Context, p *wire.Parts) error {
	specs, err := inspect.ListedOnce(ctx, p.Bus, p.Catalog)
	errs := []error{err}
	for _, spec := range specs {
		errs = append(errs, keepListed(ctx, p, spec))
	}
	return errors.Join(errs...)
}

// keepListed adds a secret to the catalog if it is in its store under no other ID.
func keepListed(ctx context.Context, p *wire.Parts, spec secret.Spec) error {
	if _, ok := p.Stores.Get(spec.Store); !ok {
		return nil
	}
	if _, taken := p.Catalog.At(spec.Store, spec.StorePath()); taken {
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
