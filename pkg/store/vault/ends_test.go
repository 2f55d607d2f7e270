package vault_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// TestTheEnginesOwnEndIsSeen by every read: the engine deletes each version an hour
// after it was written, and a TTL of a month does not change that.
func TestTheEnginesOwnEndIsSeen(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	bao.Do(t, http.MethodPost, "secret/metadata/own", map[string]any{"delete_version_after": "1h"}, nil)
	d := open(t, vault.Config{Address: bao.URL, Auth: vault.Token{Token: bao.Root}})
	rotate(t, d, "own", 1)
	spec := secret.Spec{ID: "own", Store: "main", TTL: 30 * 24 * time.Hour}
	described, err := d.Describe(t.Context(), "own")
	if err != nil {
		t.Fatal(err)
	}
	current, _, err := d.Get(t.Context(), "own", store.Selector{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]secret.Version{"describe": described.Current(), "get": current}
	for m, err := range d.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Path == "own" {
			seen["list"] = m.Current()
		}
	}
	for name, v := range seen {
		if end := spec.NotAfter(secret.Metadata{}, v); len(seen) != 3 || !end.Equal(v.CreatedAt.Add(time.Hour)) {
			t.Errorf("%s: a version of %s ends at %s", name, v.CreatedAt, end)
		}
	}
}

// TestHowManyVersionsTheEngineKeeps by the secret, by the mount and by what was dropped.
func TestHowManyVersionsTheEngineKeeps(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	d := open(t, vault.Config{Address: bao.URL, Auth: vault.Token{Token: bao.Root}})
	bao.Do(t, http.MethodPost, "secret/metadata/three", map[string]any{"max_versions": 3}, nil)
	for _, path := range []string{"three", "silent"} {
		rotate(t, d, path, 1)
	}
	check := func(path string, want int) {
		t.Helper()
		if m, err := d.Describe(t.Context(), path); err != nil || m.MaxVersions != want {
			t.Errorf("%s: %d versions, %v; want %d", path, m.MaxVersions, err, want)
		}
	}
	check("three", 3)
	check("silent", 10)
	bao.Do(t, http.MethodPost, "secret/config", map[string]any{"max_versions": 1}, nil)
	rotate(t, d, "silent", 2)
	check("silent", 1)
	for m, err := range d.List(t.Context()) {
		if err != nil || m.Path == "silent" && m.MaxVersions != 1 {
			t.Errorf("list: %+v, %v", m, err)
		}
	}
	rotate(t, d, "fresh", 1)
	check("fresh", 1)
}

// TestOneSecretHasOnePath, whichever way it is written.
func TestOneSecretHasOnePath(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	d := open(t, vault.Config{Address: bao.URL, Prefix: "/team//a/", Auth: vault.Token{Token: bao.Root}})
	rotate(t, d, "/db//app/", 1)
	for _, path := range []string{"db/app", "/db/app", "db//app", "db/./app", "db/app/"} {
		if _, _, err := d.Get(t.Context(), path, store.Selector{}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for m, err := range d.List(t.Context()) {
		if err != nil || m.Path != "" && m.Path != "db/app" {
			t.Errorf("list: %q, %v", m.Path, err)
		}
	}
}
