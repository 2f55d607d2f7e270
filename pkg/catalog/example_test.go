package catalog_test

import (
	"context"
	"fmt"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// A configured secret, and one whose tags say that it is managed.
func ExampleCatalog() {
	mem := storetest.NewMem(nil)
	st, err := store.New("main", mem, nil)
	if err != nil {
		panic(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		panic(err)
	}
	c, err := catalog.New(catalog.Config{
		Stores:      stores,
		Specs:       []secret.Spec{{ID: "app/key", Store: "main", Path: "team/app-key"}},
		Discoveries: []*catalog.Discovery{{Store: "main", Match: map[string]string{catalog.TagManaged: ""}}},
	})
	if err != nil {
		panic(err)
	}
	e, ok := c.Lookup("app/key")
	fmt.Println(e.Spec.StorePath(), e.Origin, ok)
	e, ok = c.Resolve("main", secret.Metadata{Path: "team/db", Attributes: map[string]string{catalog.TagManaged: "true", "rotator:ttl": "720h"}})
	fmt.Println(e.Spec.ID, e.Origin, e.Spec.TTL, ok)
	_, err = c.Find(context.Background(), "app/none")
	fmt.Println(err)
	// Output:
	// team/app-key configured true
	// team/db discovered 720h0m0s true
	// secret is not configured: app/none
}
