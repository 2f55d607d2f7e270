package client_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

func TestSpecsThatASourceRefuses(t *testing.T) {
	t.Parallel()
	st, err := store.New("mem", storetest.NewMem(nil), &store.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		stores []*store.Store
		specs  []secret.Spec
		want   string
	}{
		"one id twice":              {[]*store.Store{st}, []secret.Spec{{ID: "A", Store: "mem"}, {ID: "A", Store: "mem", Path: "b"}}, "two secrets have the id A"},
		"a store that is not there": {[]*store.Store{st}, []secret.Spec{{ID: "A", Store: "gone"}}, `A names the store "gone"`},
		"an id that is not valid":   {[]*store.Store{st}, []secret.Spec{{ID: "a\x00b", Store: "mem"}}, "invalid secret id"},
		"two stores of one name":    {[]*store.Store{st, st}, nil, `two stores are named "mem"`},
	} {
		if _, err := client.FromSpecs(c.stores, c.specs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	source, err := client.FromSpecs([]*store.Store{st}, []secret.Spec{{ID: "A", Store: "mem"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Spec("B")
	_, derr := source.Describe(t.Context(), "B")
	_, _, rerr := source.Read(t.Context(), "B", store.Selector{})
	for _, err := range []error{err, derr, rerr} {
		if !errors.Is(err, client.ErrNotConfigured) {
			t.Errorf("a secret that is not configured: %v", err)
		}
	}
}
