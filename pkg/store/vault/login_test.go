package vault_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// credentialFile is a file that is read as settings do it.
type credentialFile struct {
	t    *testing.T
	path string
}

func newCredentialFile(t *testing.T, content string) credentialFile {
	t.Helper()
	f := credentialFile{t, filepath.Join(t.TempDir(), "credential")}
	f.replace(content)
	return f
}

func (f credentialFile) replace(content string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f credentialFile) read() (string, error) {
	b, err := os.ReadFile(f.path)
	if err == nil && len(b) == 0 {
		err = errors.New("it is empty")
	}
	return strings.TrimSpace(string(b)), err
}

// TestASecretIDIsReplaced: a program whose secret id was destroyed and whose token has
// ended logs in with the new one. While the file is written, and while it has the old
// one, it does not log in at every call: the server would lock the role out.
func TestASecretIDIsReplaced(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	role := bao.AppRole(t, "replaced", policy(t), "1h")
	file := newCredentialFile(t, role.Secret)
	front := serverstest.StartProxy(t, bao.URL)
	d := open(t, vault.Config{Address: front.URL, Auth: vault.AppRole{RoleID: role.ID, Read: file.read}})
	rotate(t, d, "replaced", 1)

	bao.Do(t, http.MethodPost, "auth/approle/role/replaced/secret-id/destroy", map[string]any{"secret_id": role.Secret}, nil)
	bao.Revoke(t, "auth/approle/login")
	front.Take()
	fresh := bao.AppRole(t, "replaced", policy(t), "1h").Secret
	for _, content := range []string{role.Secret, "", fresh[:len(fresh)/2]} {
		file.replace(content)
		for range 10 {
			if _, err := d.Describe(t.Context(), "replaced"); !errors.Is(err, store.ErrAccessDenied) {
				t.Fatalf("%v, want access denied", err)
			}
		}
	}
	if n := countOf(front.Take(), loginCall); n != 2 {
		t.Errorf("%d logins, want one for the destroyed secret id and one for half of the new one", n)
	}
	file.replace(fresh)
	rotate(t, d, "replaced", 2)
}

// TestATokenIsReplaced: a program whose token was revoked uses the one that its file
// has by then.
func TestATokenIsReplaced(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	bao.Do(t, http.MethodPut, "sys/policies/acl/by-token", map[string]any{"policy": policy(t)}, nil)
	create := func() string {
		t.Helper()
		var made struct {
			Auth struct {
				Token string `json:"client_token"`
			}
		}
		bao.Do(t, http.MethodPost, "auth/token/create", map[string]any{"policies": []string{"by-token"}, "ttl": "1h"}, &made)
		return made.Auth.Token
	}
	old := create()
	file := newCredentialFile(t, old)
	d := open(t, vault.Config{Address: bao.URL, Auth: vault.Token{Token: old, Read: file.read}})
	rotate(t, d, "replaced", 1)
	fresh := create()
	bao.Do(t, http.MethodPost, "auth/token/revoke", map[string]any{"token": old}, nil)
	for _, content := range []string{old, ""} {
		file.replace(content)
		if _, err := d.Describe(t.Context(), "replaced"); !errors.Is(err, store.ErrAccessDenied) {
			t.Fatalf("%v, want access denied", err)
		}
	}
	file.replace(fresh)
	rotate(t, d, "replaced", 2)
}
