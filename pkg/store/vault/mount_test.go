package vault_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// TestMountsThatAreNoKV2 tries everything that a program does on mounts that are
// something else. Each error names the mount and what it is, and nothing is
// written.
func TestMountsThatAreNoKV2(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	bao.Do(t, http.MethodPost, "sys/mounts/kv1", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}}, nil)
	bao.Do(t, http.MethodPost, "sys/mounts/bare", map[string]any{"type": "kv"}, nil)
	bao.Do(t, http.MethodPost, "sys/mounts/transit", map[string]any{"type": "transit"}, nil)
	for _, mount := range []string{"kv1", "bare"} {
		bao.Do(t, http.MethodPost, mount+"/own", map[string]any{"value": "x"}, nil)
	}
	for mount, want := range map[string]string{
		"kv1":         "mount kv1: it is a KV version 1 engine",
		"bare":        "mount bare: it is a KV version 1 engine",
		"nosuch":      "mount nosuch: the server shows the token none",
		"secret/data": "mount secret/data: the server has none of this name; secret/data is a path in the mount secret",
		"transit":     "mount transit: it is an engine of type transit",
	} {
		cfg := asRoot(bao)
		cfg.Mount = mount
		d := open(t, cfg)
		check := func(op string, err error) {
			t.Helper()
			if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %s: %v, want %q", mount, op, err, want)
			}
		}
		w := write("a/b", 1, "")
		w.Create = true
		_, err := d.Put(t.Context(), "a/b", w)
		check("put", err)
		_, err = d.Describe(t.Context(), "a/b")
		check("describe", err)
		_, _, err = d.Get(t.Context(), "a/b", store.Selector{})
		check("get", err)
		for _, err = range d.List(t.Context()) {
			if err != nil {
				break
			}
		}
		check("list", err)
	}
	for _, mount := range []string{"kv1", "bare"} {
		var got struct{ Data struct{ Keys []string } }
		bao.Do(t, "LIST", mount+"/", nil, &got)
		if len(got.Data.Keys) != 1 {
			t.Errorf("%s holds %v, want what was there", mount, got.Data.Keys)
		}
	}
}

// TestTheMountIsNamedToAService: a token with the permissions of a service learns
// the same.
func TestTheMountIsNamedToAService(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	bao.Do(t, http.MethodPost, "sys/mounts/kv1", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}}, nil)
	role := bao.AppRole(t, "reader", `path "kv1/data/*" { capabilities = ["read"] }`, "1h")
	d := open(t, vault.Config{Address: bao.URL, Mount: "kv1", Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
	if _, _, err := d.Get(t.Context(), "a", store.Selector{}); err == nil || !strings.Contains(err.Error(), "KV version 1") {
		t.Errorf("get: %v, want the version of the mount", err)
	}
}
