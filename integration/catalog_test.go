package integration

import (
	"fmt"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// catalogued is a catalog of configured secrets and its stores, as one program opens
// them.
type catalogued struct {
	*catalog.Catalog
	stores *store.Set
	source client.Source // of a service that reads the same secrets
}

func manage(specs []secret.Spec, stores ...*store.Store) (catalogued, error) {
	set, err := store.NewSet(stores...)
	if err != nil {
		return catalogued{}, err
	}
	c, err := catalog.New(catalog.Config{Stores: set, Specs: specs})
	if err != nil {
		return catalogued{}, err
	}
	source, err := client.FromSpecs(set.All(), specs)
	return catalogued{c, set, source}, err
}

// locate returns what is configured for a secret, and the store that has it.
func (m catalogued) locate(id secret.ID) (secret.Spec, *store.Store, error) {
	spec, ok := m.Spec(id)
	if !ok {
		return spec, nil, fmt.Errorf("%w: %s", catalog.ErrUnknownSecret, id)
	}
	st, ok := m.stores.Get(spec.Store)
	if !ok {
		return spec, nil, fmt.Errorf("there is no store %q", spec.Store)
	}
	return spec, st, nil
}
