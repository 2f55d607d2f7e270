package catalog_test

import (
	"errors"
	"testing"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

func listed(id secret.ID, path string) secret.Spec {
	return secret.Spec{ID: id, Store: "main", Path: path, Services: []string{"api"}}
}

// TestConfigureReplacesWhatIsListed: all at once, so that two secrets can change places.
func TestConfigureReplacesWhatIsListed(t *testing.T) {
	t.Parallel()
	c, mem := open(t, nil)
	put(t, mem, "apps/a", nil)
	if err := c.Configure([]secret.Spec{listed("A", "apps/a"), listed("B", "apps/b")}); err != nil {
		t.Fatal(err)
	}
	if err := c.Configure([]secret.Spec{listed("A", "apps/b"), listed("B", "apps/a")}); err != nil {
		t.Fatal(err)
	}
	for id, path := range map[secret.ID]string{"A": "apps/b", "B": "apps/a"} {
		if e, ok := c.At("main", path); !ok || e.Spec.ID != id || e.Origin != catalog.Configured {
			t.Errorf("at %s is %+v", path, e)
		}
	}
	if c.Discovery("main") != nil {
		t.Error("still discovers")
	}
}

// TestConfigureRefusesWhole: with an error nothing changes.
func TestConfigureRefusesWhole(t *testing.T) {
	t.Parallel()
	c, _ := open(t, nil)
	err := c.Configure([]secret.Spec{listed("NEW", "apps/new"), {ID: "BAD", Store: "elsewhere"}})
	if !errors.Is(err, secret.ErrInvalidSpec) {
		t.Errorf("got %v", err)
	}
	if _, ok := c.Lookup("NEW"); ok {
		t.Error("took a part")
	}
	if e, _ := c.Lookup("LISTED"); e.Origin != catalog.Configured {
		t.Errorf("LISTED is %+v", e)
	}
}

// TestARemovedSecretIsKept: with what is needed to end its rollout, without a schedule,
// and until it is listed again.
func TestARemovedSecretIsKept(t *testing.T) {
	t.Parallel()
	c, mem := open(t, nil)
	put(t, mem, "apps/a", nil)
	a := listed("A", "apps/a")
	if err := errors.Join(c.Configure([]secret.Spec{a}), c.Configure([]secret.Spec{listed("RENAMED", "apps/a")})); err != nil {
		t.Fatal(err)
	}
	e, err := c.Find(t.Context(), "A")
	if err != nil || e.Origin != catalog.Removed || !e.Spec.Disabled || len(e.Spec.Services) != 1 {
		t.Errorf("found %+v, %v", e, err)
	}
	if e, m, err := c.Describe(t.Context(), e.Spec); err != nil || e.Origin != catalog.Removed || m.Current().ID == "" {
		t.Errorf("described %+v, %v", e, err)
	}
	if e, _ := c.At("main", "apps/a"); e.Spec.ID != "RENAMED" {
		t.Errorf("its place has %+v", e)
	}
	if err := c.Configure([]secret.Spec{a}); err != nil {
		t.Fatal(err)
	}
	if e, _ := c.Lookup("A"); e.Origin != catalog.Configured || e.Spec.Disabled {
		t.Errorf("listed again: %+v", e)
	}
	c.Keep(a)
	if e, _ := c.Lookup("A"); e.Origin != catalog.Configured {
		t.Errorf("kept: %+v", e)
	}
}
