package rotation

import (
	"context"
	"fmt"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// find returns what the catalog knows of a secret without reading it, and the
// store that has it.
func (r *Rotator) find(ctx context.Context, id secret.ID) (secret.Spec, *store.Store, error) {
	e, err := r.cfg.Catalog.Find(ctx, id)
	if err != nil {
		return secret.Spec{}, nil, err
	}
	st, ok := r.cfg.Stores.Get(e.Spec.Store)
	if !ok {
		return secret.Spec{}, nil, fmt.Errorf("%w: %s: there is no store %q", catalog.ErrUnknownSecret, id, e.Spec.Store)
	}
	return e.Spec, st, nil
}

// describe reads a secret and what is configured for it now.
func (r *Rotator) describe(ctx context.Context, spec secret.Spec) (secret.Spec, secret.Metadata, error) {
	e, m, err := r.cfg.Catalog.Describe(ctx, spec)
	return e.Spec, m, err
}
