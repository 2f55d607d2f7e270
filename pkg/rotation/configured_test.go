package rotation

import (
	"testing"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Configured returns a catalog of configured secrets of one store.
func Configured(tb testing.TB, st *store.Store, specs ...secret.Spec) (*catalog.Catalog, *store.Set) {
	tb.Helper()
	stores, err := store.NewSet(st)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := catalog.New(catalog.Config{Stores: stores, Specs: specs})
	if err != nil {
		tb.Fatal(err)
	}
	return c, stores
}
