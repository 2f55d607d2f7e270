package inspect

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// ListedOnce returns where the secrets were that the log knows, that are not in the
// catalog and that no store offers: a configuration listed them, and programs that were
// started since do not know them. Whether they are still there, the store says.
//
// A program of an earlier version announced no paths. A secret that was rotated by one last
// is found only if its path in its store is its ID.
func ListedOnce(ctx context.Context, log Log, c *catalog.Catalog) ([]secret.Spec, error) {
	rotated, err := log.RotatedKeys(ctx)
	if err != nil {
		return nil, err
	}
	discovered, err := log.DiscoveredKeys(ctx)
	if err != nil {
		return nil, err
	}
	var out []secret.Spec
	for _, key := range slices.Sorted(maps.Keys(rotated)) {
		id, err := secret.IDFromKey(key)
		if _, offered := discovered[key]; err != nil || offered {
			continue
		}
		if _, known := c.Lookup(id); known {
			continue
		}
		last, err := log.Last(ctx, events.TypeRotated, id)
		if errors.Is(err, events.ErrUntrusted) {
			continue // nothing is known of where it is
		}
		if err != nil {
			return out, err
		}
		out = append(out, secret.Spec{ID: id, Store: last.Event.Data.Store, Path: last.Event.Data.Path, Disabled: true})
	}
	return out, nil
}

// once returns the secrets of [ListedOnce] that are still in their stores, and for an
// error a Secret that has neither ID nor store.
func (r *reading) once(ctx context.Context) []Secret {
	if !r.Once || r.Bus == nil {
		return nil
	}
	var out []Secret
	specs, err := ListedOnce(ctx, r.Bus, r.Catalog)
	if err != nil {
		out = append(out, Secret{Error: err.Error(), Err: err})
	}
	for _, spec := range specs {
		if _, ok := r.Stores.Get(spec.Store); !ok || r.down[spec.Store] != nil {
			continue // the store is not configured any more, or its other secrets say why
		}
		if _, taken := r.Catalog.At(spec.Store, spec.StorePath()); taken {
			continue // it has another ID now
		}
		bounded, cancel := context.WithTimeout(ctx, storeWait)
		meta, err := r.Stores.Describe(bounded, spec.Store, spec.StorePath())
		cancel()
		if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			r.down[spec.Store] = err
		}
		if err == nil && len(meta.Versions) == 0 || errors.Is(err, secret.ErrNotFound) {
			continue
		}
		out = append(out, r.view.Secret(ctx, catalog.Entry{Spec: spec, Origin: catalog.Removed}, meta, err))
	}
	return out
}
