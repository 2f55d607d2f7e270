package store_test

import (
	"errors"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

func TestSet(t *testing.T) {
	t.Parallel()
	var stores []*store.Store
	for _, name := range []string{"b", "a"} {
		st, err := store.New(name, storetest.NewMem(nil), options)
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, st)
	}
	set, err := store.NewSet(stores...)
	if err != nil {
		t.Fatal(err)
	}
	if all := set.All(); len(all) != 2 || all[0].Name() != "a" || !set.Has("b") || set.Has("c") || set.External("a") || set.NormalPath("a", "/x") != "/x" {
		t.Errorf("the set is %v", all)
	}
	if _, err := set.Describe(t.Context(), "a", "none"); !errors.Is(err, secret.ErrNotFound) || !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a secret that is not there: %v", err)
	}
	if _, err := set.Describe(t.Context(), "c", "none"); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a store that is not there: %v", err)
	}
	if err := set.Add(stores[0]); err == nil {
		t.Error("two stores have one name")
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}
