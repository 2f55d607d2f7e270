package store_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// catalog returns a catalog with one listed secret, and with one discovered
// where the log says that it is.
func catalog(t *testing.T, where map[secret.ID]string) (*store.Catalog, *storetest.Mem) {
	t.Helper()
	mem := storetest.NewMem(nil)
	var stores []*store.Store
	for _, name := range []string{"main", "closed"} {
		st, err := store.New(name, mem, &store.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, st)
	}
	c, err := store.NewCatalog(stores, []secret.Spec{{ID: "LISTED", Store: "main", Path: "apps/listed", Services: []string{"configured"}}})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Discover([]*store.Discovery{discovery()}, func(_ context.Context, id secret.ID) (string, string, error) {
		name, path, ok := strings.Cut(where[id], ":")
		if !ok {
			return "", "", store.ErrUnknownSecret
		}
		return name, path, nil
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
	managed := map[string]string{store.TagManaged: "true", "rotator:id": "FOUND", "rotator:services": "api"}
	for name, c := range map[string]struct {
		where string
		tags  map[string]string
		find  error // of Find
		want  error // of Describe
	}{
		"as it is said":                    {"main:apps/db", managed, nil, nil},
		"nobody says where":                {"", managed, store.ErrUnknownSecret, nil},
		"where nothing is discovered":      {"closed:apps/db", managed, store.ErrUnknownSecret, nil},
		"in a store that is not there":     {"gone:apps/db", managed, store.ErrUnknownSecret, nil},
		"outside of what is discovered":    {"main:ops/db", managed, store.ErrUnknownSecret, nil},
		"a secret that has not opted in":   {"main:apps/db", nil, nil, store.ErrUnknownSecret},
		"one that only has the id":         {"main:apps/db", map[string]string{"rotator:id": "FOUND"}, nil, store.ErrUnknownSecret},
		"a secret of another id":           {"main:apps/db", map[string]string{store.TagManaged: "true", "rotator:id": "OTHER"}, nil, store.ErrUnknownSecret},
		"a secret that is not there":       {"main:apps/none", managed, nil, store.ErrUnknownSecret},
		"tags that cannot be carried out":  {"main:apps/db", map[string]string{store.TagManaged: "true", "rotator:id": "FOUND", "rotator:ttl": "soon"}, nil, store.ErrInvalidTags},
		"an id that has become impossible": {"main:apps/db", map[string]string{store.TagManaged: "true", "rotator:id": "not an id"}, nil, store.ErrInvalidTags},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cat, mem := catalog(t, map[secret.ID]string{"FOUND": c.where})
			put(t, mem, "apps/db", c.tags)
			spec, _, err := cat.Find(t.Context(), "FOUND")
			if !errors.Is(err, c.find) {
				t.Fatalf("find: %v, want %v", err, c.find)
			}
			if err != nil {
				return
			}
			spec, meta, err := cat.Describe(t.Context(), spec)
			if !errors.Is(err, c.want) {
				t.Fatalf("describe: %v, want %v", err, c.want)
			}
			if errors.Is(err, store.ErrNotFound) {
				t.Error("a secret that is managed no longer fails like one that somebody asked for")
			}
			if err == nil && (spec.Services[0] != "api" || spec.StorePath() != "apps/db" || meta.Current().ID == "") {
				t.Errorf("it is %+v", spec)
			}
		})
	}
}

func TestAListedSecretIsWhatTheConfigurationSays(t *testing.T) {
	t.Parallel()
	cat, mem := catalog(t, map[secret.ID]string{"LISTED": "main:apps/other"})
	put(t, mem, "apps/listed", map[string]string{store.TagManaged: "true", "rotator:services": "tagged", "rotator:ttl": "soon"})
	spec, st, err := cat.Find(t.Context(), "LISTED")
	if err != nil || st.Name() != "main" {
		t.Fatal(err)
	}
	if spec, _, err = cat.Describe(t.Context(), spec); err != nil || spec.Services[0] != "configured" || spec.StorePath() != "apps/listed" {
		t.Errorf("it is %+v, err %v", spec, err)
	}
	mem.Delete("apps/listed")
	if _, _, err = cat.Describe(t.Context(), spec); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted: %v, want not found", err)
	}
}

func TestDiscoveryHasToAskForSomething(t *testing.T) {
	t.Parallel()
	cat, _ := catalog(t, nil)
	for name, d := range map[string]*store.Discovery{"no tag": {Store: "main"}, "no such store": {Store: "gone", Match: map[string]string{"a": ""}}} {
		if err := cat.Discover([]*store.Discovery{d}, nil); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}
