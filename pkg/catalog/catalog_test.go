package catalog_test

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// folders is a store whose paths are those of folders, as in Vault: /a/b and a//b
// are a/b.
type folders struct{ *storetest.Mem }

func (folders) NormalPath(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

func (f folders) Describe(ctx context.Context, p string) (secret.Metadata, error) {
	return f.Mem.Describe(ctx, f.NormalPath(p))
}

// open returns a catalog with one configured secret, and with one discovered
// where the log says that it is.
func open(t *testing.T, where map[secret.ID]string) (*catalog.Catalog, *storetest.Mem) {
	t.Helper()
	mem := storetest.NewMem(nil)
	stores := new(store.Set)
	for _, name := range []string{"main", "closed"} {
		st, err := store.New(name, folders{mem}, &store.Options{Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = stores.Add(st)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := catalog.New(catalog.Config{
		Stores: stores, Discoveries: []*catalog.Discovery{discovery()},
		Specs: []secret.Spec{{ID: "LISTED", Store: "main", Path: "apps/listed", Services: []string{"configured"}}},
		Locate: func(_ context.Context, id secret.ID) (string, string, error) {
			name, path, ok := strings.Cut(where[id], ":")
			if !ok {
				return "", "", catalog.ErrUnknownSecret
			}
			return name, path, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, mem
}

func put(t *testing.T, m *storetest.Mem, path string, tags map[string]string) {
	t.Helper()
	token := secret.NewToken(secret.ID(path), "", "test", 0)
	v, err := m.Put(t.Context(), path, store.Write{Token: token, Value: secret.NewValue([]byte("value")), Create: true})
	if err == nil {
		err = m.Promote(t.Context(), path, "", v.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.SetAttributes(path, tags)
}

// TestWhatTheBusSaysIsAHint: where a discovered secret is comes from others, and
// whether and how it is managed from the store alone.
func TestWhatTheBusSaysIsAHint(t *testing.T) {
	t.Parallel()
	managed := map[string]string{catalog.TagManaged: "true", "rotator:id": "FOUND", "rotator:services": "api"}
	for name, c := range map[string]struct {
		where string
		tags  map[string]string
		find  error // of Find
		want  error // of Describe
	}{
		"as it is said":                       {"main:apps/db", managed, nil, nil},
		"nothing says where":                  {"", managed, catalog.ErrUnknownSecret, nil},
		"where nothing is discovered":         {"closed:apps/db", managed, catalog.ErrUnknownSecret, nil},
		"in a store that is not there":        {"gone:apps/db", managed, catalog.ErrUnknownSecret, nil},
		"outside of what is discovered":       {"main:ops/db", managed, catalog.ErrUnknownSecret, nil},
		"outside by way of a parent folder":   {"main:apps/../ops/db", managed, catalog.ErrUnknownSecret, nil},
		"at a path that no listing shows":     {"main:apps//db", managed, catalog.ErrUnknownSecret, nil},
		"where another secret is configured":  {"main:apps/listed", managed, catalog.ErrUnknownSecret, nil},
		"a secret that has not opted in":      {"main:apps/db", nil, nil, catalog.ErrUnknownSecret},
		"one that only has the id":            {"main:apps/db", map[string]string{"rotator:id": "FOUND"}, nil, catalog.ErrUnknownSecret},
		"a secret of another id":              {"main:apps/db", map[string]string{catalog.TagManaged: "true", "rotator:id": "OTHER"}, nil, catalog.ErrUnknownSecret},
		"a secret that is not there":          {"main:apps/none", managed, nil, catalog.ErrUnknownSecret},
		"tags that cannot be carried out":     {"main:apps/db", map[string]string{catalog.TagManaged: "true", "rotator:id": "FOUND", "rotator:ttl": "soon"}, nil, catalog.ErrInvalidTags},
		"an id that has become impossible":    {"main:apps/db", map[string]string{catalog.TagManaged: "true", "rotator:id": "not\tan id"}, nil, catalog.ErrInvalidTags},
		"a secret that took a configured id":  {"main:apps/db", map[string]string{catalog.TagManaged: "true", "rotator:id": "LISTED"}, nil, catalog.ErrUnknownSecret},
		"a strategy that the store cannot do": {"main:apps/db", map[string]string{catalog.TagManaged: "true", "rotator:id": "FOUND", "rotator:strategy": "managed"}, nil, catalog.ErrInvalidTags},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cat, mem := open(t, map[secret.ID]string{"FOUND": c.where})
			put(t, mem, "apps/db", c.tags)
			put(t, mem, "ops/db", managed)
			e, err := cat.Find(t.Context(), "FOUND")
			if !errors.Is(err, c.find) {
				t.Fatalf("find: %v, want %v", err, c.find)
			}
			if err != nil {
				return
			}
			e, meta, err := cat.Describe(t.Context(), e.Spec)
			if !errors.Is(err, c.want) {
				t.Fatalf("describe: %v, want %v", err, c.want)
			}
			if errors.Is(err, secret.ErrNotFound) {
				t.Error("a secret that is no longer managed fails like a configured one that is missing")
			}
			if err == nil && (e.Origin != catalog.Discovered || e.Spec.Services[0] != "api" || e.Spec.StorePath() != "apps/db" || meta.Current().ID == "") {
				t.Errorf("it is %+v", e)
			}
		})
	}
}

func TestAListedSecretIsWhatTheConfigurationSays(t *testing.T) {
	t.Parallel()
	cat, mem := open(t, map[secret.ID]string{"LISTED": "main:apps/other"})
	put(t, mem, "apps/listed", map[string]string{catalog.TagManaged: "true", "rotator:services": "tagged", "rotator:ttl": "soon"})
	e, err := cat.Find(t.Context(), "LISTED")
	if err != nil || e.Spec.Store != "main" || e.Origin != catalog.Configured {
		t.Fatal(e, err)
	}
	if e, _, err = cat.Describe(t.Context(), e.Spec); err != nil || e.Spec.Services[0] != "configured" || e.Spec.StorePath() != "apps/listed" || !e.Has(catalog.CodeConflict) || e.Err() != nil {
		t.Errorf("it is %+v, err %v", e, err)
	}
	mem.Delete("apps/listed")
	if _, _, err = cat.Describe(t.Context(), e.Spec); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("deleted: %v, want not found", err)
	}
}

// TestARotationDoesNotFollowASecretToAnotherPlace: what has begun at one place is
// not continued at another.
func TestARotationDoesNotFollowASecretToAnotherPlace(t *testing.T) {
	t.Parallel()
	cat, mem := open(t, nil)
	put(t, mem, "apps/listed", nil)
	put(t, mem, "apps/moved", nil)
	before, ok := cat.Spec("LISTED")
	if !ok {
		t.Fatal("it is not configured")
	}
	moved := before
	moved.Path = "apps/moved"
	if err := cat.Replace(catalog.Entry{Spec: moved, Origin: catalog.Configured}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cat.Describe(t.Context(), before); !errors.Is(err, catalog.ErrUnknownSecret) {
		t.Errorf("at the old place: %v", err)
	}
	if _, _, err := cat.Describe(t.Context(), moved); err != nil {
		t.Errorf("at the new place: %v", err)
	}
}

func TestDiscoveryHasToAskForSomething(t *testing.T) {
	t.Parallel()
	cat, _ := open(t, nil)
	for name, d := range map[string]*catalog.Discovery{"no tag": {Store: "main"}, "no such store": {Store: "gone", Match: map[string]string{"a": ""}}} {
		if err := cat.Discover(d); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

func TestEntriesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec  secret.Spec
		taken bool
		want  string
	}{
		"the same id":                     {secret.Spec{ID: "LISTED", Store: "main", Path: "apps/two"}, true, "the id LISTED is that of apps/listed in the store main"},
		"the same place":                  {secret.Spec{ID: "TWO", Store: "main", Path: "apps/listed"}, true, "LISTED and TWO are both at apps/listed in the store main"},
		"the same place, spelt otherwise": {secret.Spec{ID: "TWO", Store: "main", Path: "/apps//listed"}, true, "LISTED and TWO are both at apps/listed in the store main"},
		"the same place by the id":        {secret.Spec{ID: "apps/listed/", Store: "main"}, true, "both at apps/listed"},
		"a store that is not there":       {secret.Spec{ID: "TWO", Store: "gone"}, false, `names the store "gone", which is not configured`},
		"a path that names nothing":       {secret.Spec{ID: "TWO", Store: "main", Path: "/./"}, false, `the path "/./" names no secret in the store main`},
		"an id that is not valid":         {secret.Spec{ID: "a\tb", Store: "main"}, false, "invalid secret id"},
		"a rotation that it cannot run":   {secret.Spec{ID: "TWO", Store: "main", Strategy: secret.StrategyExternal}, false, "the store main runs no rotations itself"},
	} {
		cat, _ := open(t, nil)
		err := cat.Add(catalog.Entry{Spec: c.spec, Origin: catalog.Configured})
		if !errors.Is(err, secret.ErrInvalidSpec) || errors.Is(err, catalog.ErrTaken) != c.taken || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if n := len(slices.Collect(cat.Entries())); n != 1 {
			t.Errorf("%s: there are %d entries", name, n)
		}
	}
	cat, _ := open(t, nil)
	if err := cat.Add(catalog.Entry{Spec: secret.Spec{ID: "TWO", Store: "closed", Path: "apps/listed"}, Origin: catalog.Configured}); err != nil {
		t.Errorf("the same path in another store: %v", err)
	}
	if err := cat.Add(catalog.Entry{Spec: secret.Spec{ID: "THREE", Store: "main"}}); !errors.Is(err, secret.ErrInvalidSpec) {
		t.Errorf("an entry of no origin: %v", err)
	}
}

// TestAPointReadAndAListingMeanTheSameSecret: in whichever form a configuration
// or a hint writes a path, it is the secret that the listing shows.
func TestAPointReadAndAListingMeanTheSameSecret(t *testing.T) {
	t.Parallel()
	cat, mem := open(t, nil)
	put(t, mem, "team/lead", map[string]string{catalog.TagManaged: "true"})
	if err := cat.Add(catalog.Entry{Spec: secret.Spec{ID: "LEAD", Store: "main", Path: "/team/lead"}, Origin: catalog.Configured}); err != nil {
		t.Fatal(err)
	}
	read, _, err := cat.Describe(t.Context(), secret.Spec{ID: "LEAD", Store: "main", Path: "/team/lead"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for m, err := range mem.List(t.Context()) {
		e, ok := cat.Resolve("main", m)
		if n++; err != nil || !ok || e.Spec.ID != read.Spec.ID || e.Origin != catalog.Configured {
			t.Errorf("the listing shows %s, which is %+v, %t, %v", m.Path, e, ok, err)
		}
	}
	if n != 1 || cat.MayDiscover("main", "team/lead") || !cat.Scope("main").Folder("team/") || !cat.Scope("main").Path("team/lead") {
		t.Errorf("of %d secrets", n)
	}
	if e, ok := cat.At("main", "team/./lead"); !ok || e.Spec.ID != "LEAD" {
		t.Errorf("at another spelling: %+v", e)
	}
}

func TestThePrefixOfADiscoveryIsAPathToo(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{"/team/": "team/", "team//db": "team/db", "team": "team", "": ""} {
		cat, _ := open(t, nil)
		if err := cat.Discover(&catalog.Discovery{Store: "closed", Match: map[string]string{"a": ""}, Prefix: prefix}); err != nil {
			t.Fatal(err)
		}
		if got := cat.Discovery("closed").Prefix; got != want {
			t.Errorf("%q is %q, want %q", prefix, got, want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	managed := map[string]string{catalog.TagManaged: "true"}
	for name, c := range map[string]struct {
		store, path string
		tags        map[string]string
		want        secret.ID
		origin      catalog.Origin
		problem     secret.FindingCode
	}{
		"configured":                        {"main", "apps/listed", nil, "LISTED", catalog.Configured, ""},
		"configured, and the tags agree":    {"main", "apps/listed", map[string]string{"rotator:services": "configured"}, "LISTED", catalog.Configured, ""},
		"configured, and the tags do not":   {"main", "apps/listed", map[string]string{"rotator:services": "api"}, "LISTED", catalog.Configured, catalog.CodeConflict},
		"configured, and opted out":         {"main", "apps/listed", map[string]string{catalog.TagManaged: "false"}, "LISTED", catalog.Configured, ""},
		"discovered":                        {"main", "apps/db", managed, "x/apps/db", catalog.Discovered, ""},
		"discovered, with an impossible id": {"main", "apps/db", map[string]string{catalog.TagManaged: "true", "rotator:id": "a\tb"}, "", catalog.Discovered, catalog.CodeInvalidTag},
		"discovered, with a configured id":  {"main", "apps/db", map[string]string{catalog.TagManaged: "true", "rotator:id": "LISTED"}, "LISTED", catalog.Discovered, catalog.CodeCollision},
		"without tags":                      {"main", "apps/db", nil, "", "", ""},
		"where nothing is discovered":       {"closed", "apps/db", managed, "", "", ""},
		"in an unknown store":               {"gone", "apps/db", managed, "", "", ""},
	} {
		cat, _ := open(t, nil)
		e, ok := cat.Resolve(c.store, secret.Metadata{Path: c.path, Attributes: c.tags})
		if ok != (c.origin != "") || e.Spec.ID != c.want || e.Origin != c.origin || len(e.Findings) > 0 != (c.problem != "") || c.problem != "" && !e.Has(c.problem) {
			t.Errorf("%s: %+v, %t", name, e, ok)
		}
		if refused := e.Origin == catalog.Discovered && c.problem != ""; errors.Is(e.Err(), catalog.ErrInvalidTags) != refused {
			t.Errorf("%s: err %v", name, e.Err())
		}
	}
}

// TestWhoHasAnID: the configuration comes first, then what was announced first,
// as long as it can still be discovered here.
func TestWhoHasAnID(t *testing.T) {
	t.Parallel()
	cat, _ := open(t, nil)
	for name, c := range map[string]struct {
		spec, announced secret.Spec
		want            string // owner in the problem
	}{
		"nothing was announced":          {secret.Spec{ID: "DB", Store: "main", Path: "apps/db"}, secret.Spec{}, ""},
		"it was announced itself":        {secret.Spec{ID: "DB", Store: "main", Path: "apps/db"}, secret.Spec{ID: "DB", Store: "main", Path: "apps/db"}, ""},
		"another one was":                {secret.Spec{ID: "DB", Store: "main", Path: "apps/db"}, secret.Spec{ID: "DB", Store: "main", Path: "apps/first"}, "belongs to apps/first in the store main"},
		"one that is not discovered now": {secret.Spec{ID: "DB", Store: "main", Path: "apps/db"}, secret.Spec{ID: "DB", Store: "main", Path: "ops/first"}, ""},
		"one of a store that is not":     {secret.Spec{ID: "DB", Store: "main", Path: "apps/db"}, secret.Spec{ID: "DB", Store: "closed", Path: "apps/first"}, ""},
		"the configuration lists it":     {secret.Spec{ID: "LISTED", Store: "main", Path: "apps/db"}, secret.Spec{}, "belongs to apps/listed in the store main"},
		"and that comes first":           {secret.Spec{ID: "LISTED", Store: "main", Path: "apps/db"}, secret.Spec{ID: "LISTED", Store: "main", Path: "apps/db"}, "belongs to apps/listed in the store main"},
	} {
		got := cat.Collision(c.spec, c.announced)
		if (got != nil) != (c.want != "") || got != nil && (got.Code != catalog.CodeCollision || !strings.Contains(got.Message, c.want)) {
			t.Errorf("%s: %v, want %q", name, got, c.want)
		}
	}
}

func TestACatalogWithoutStores(t *testing.T) {
	t.Parallel()
	c, err := catalog.New(catalog.Config{Specs: []secret.Spec{{ID: "ONE", Store: "anywhere", Strategy: secret.StrategyExternal}}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Find(t.Context(), "ONE")
	if err != nil || e.Spec.Store != "anywhere" {
		t.Errorf("found %+v, %v", e, err)
	}
	if _, _, err := c.Describe(t.Context(), e.Spec); err == nil {
		t.Error("it reads a store that it does not have")
	}
}
