package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/store"
)

// Reached is what of a configuration was reached.
type Reached struct {
	// Parts is nil where the bus was not reached; Bus is why.
	Parts   *wire.Parts
	Bus     error
	Catalog *catalog.Catalog
	Stores  *store.Set
	// Close closes what was opened.
	Close func() error
}

// Reach connects to what runs with the configuration, or opens the stores alone where
// that is not reached.
func (o *Operator) Reach(ctx context.Context) (Reached, error) {
	bounded, cancel := context.WithTimeout(ctx, planReach)
	parts, err := o.connect(bounded)
	cancel()
	if err == nil {
		return Reached{Parts: parts, Catalog: parts.Catalog, Stores: parts.Stores, Close: parts.Close}, nil
	}
	o.wire.Absent = fmt.Errorf("%w: it is on the bus, which was not reached", store.ErrUnavailable)
	if o.never() {
		o.wire.Absent = store.ErrNotFound
	}
	stores, storesErr := wire.OpenStores(ctx, o.wire)
	if storesErr != nil {
		return Reached{}, errors.Join(err, storesErr)
	}
	return Reached{Bus: err, Catalog: stores.Catalog, Stores: stores.Set, Close: stores.Close}, nil
}
