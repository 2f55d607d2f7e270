package operator

import (
	"context"
	"errors"
	"time"

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
	down := map[string]bool{} // :: store → it did not answer; it is not asked again
	for _, spec := range specs {
		if down[spec.Store] {
			continue
		}
		err := keepListed(ctx, p, spec)
		down[spec.Store] = err != nil
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// storeWait is how long a store is waited for.
const storeWait = 5 * time.Second

// keepListed adds a secret to the catalog if it is in its store under no other ID.
func keepListed(ctx context.Context, p *wire.Parts, spec secret.Spec) error {
	if _, ok := p.Stores.Get(spec.Store); !ok {
		return nil
	}
	if _, taken := p.Catalog.At(spec.Store, spec.StorePath()); taken {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	meta, err := p.Stores.Describe(ctx, spec.Store, spec.StorePath())
	if errors.Is(err, store.ErrNotFound) || err == nil && len(meta.Versions) == 0 {
		return nil
	}
	if err == nil {
		p.Catalog.Keep(spec)
	}
	return err
}
