package catalog_test

import (
	"testing"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

// scoped returns a catalog of what d discovers, if it is not nil, and of the
// secrets at some paths of the store main.
func scoped(t *testing.T, d *catalog.Discovery, paths ...string) *catalog.Catalog {
	t.Helper()
	var cfg catalog.Config
	if d != nil && len(d.Match) > 0 {
		cfg.Discoveries = []*catalog.Discovery{d}
	}
	for _, path := range paths {
		cfg.Specs = append(cfg.Specs, secret.Spec{ID: secret.ID(path), Store: "main"})
	}
	c, err := catalog.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestScope(t *testing.T) {
	t.Parallel()
	s := scoped(t, discovery(), "listed/here/x").Scope("main")
	for folder, want := range map[string]bool{"apps/": true, "apps/deep/er/": true, "listed/": true, "listed/here/": true, "listed/there/": false, "ops/": false, "a/": false} {
		if got := s.Folder(folder); got != want {
			t.Errorf("folder %s: %t", folder, got)
		}
	}
	if !s.Path("listed/here/x") || !s.Secret("listed/here/x", nil) || s.Path("listed/here/y") || !s.Path("apps/y") || s.Secret("apps/y", nil) {
		t.Error("the paths are others")
	}
	if none := scoped(t, nil).Scope("main"); none.Folder("any/") || none.Path("any") || none.Secret("any", nil) {
		t.Error("a scope of nothing has something")
	}
	if other := scoped(t, discovery(), "listed/here/x").Scope("other"); other.Folder("listed/") || other.Path("apps/y") {
		t.Error("the scope of a store has what is in another one")
	}
}

func TestAScopeFollowsItsCatalog(t *testing.T) {
	t.Parallel()
	c := scoped(t, nil, "a/b/one")
	s := c.Scope("main")
	if err := c.Add(catalog.Entry{Spec: secret.Spec{ID: "TWO", Store: "main", Path: "a/c/two"}, Origin: catalog.Configured}); err != nil {
		t.Fatal(err)
	}
	if !s.Folder("a/c/") || !s.Path("a/c/two") {
		t.Error("what was added is not in scope")
	}
	if !c.Remove("a/b/one", catalog.Configured) || s.Folder("a/b/") || s.Path("a/b/one") || !s.Folder("a/") {
		t.Error("what was removed is in scope, or what was not removed is not")
	}
}
