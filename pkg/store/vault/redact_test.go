package vault_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

const credential = "hvs.Canary-4711"

func TestCredentialsNeverPrint(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		vault.Config{Auth: vault.Token{Token: credential}}, vault.Config{Auth: vault.AppRole{RoleID: "role", SecretID: credential}},
		vault.Token{Token: credential}, &vault.AppRole{SecretID: credential},
		vault.Access{Token: credential, SecretID: credential},
	} {
		inJSON, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		if text := fmt.Sprintf("%v %+v %#v %s %d %s", v, v, v, v, v, inJSON); strings.Contains(text, "4711") {
			t.Errorf("%T prints its credential", v)
		}
	}
}

// TestCredentialsAreInNoError: a server that quotes the login, or the token of any
// call, gives no credential away.
func TestCredentialsAreInNoError(t *testing.T) {
	t.Parallel()
	jwt := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(jwt, []byte(credential+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bao := serverstest.StartBao(t)
	front := serverstest.StartProxy(t, bao.URL)
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusBadGateway} {
		front.Heal()
		front.Inject(-1, nil, serverstest.Quoting(func(request []byte) (int, []byte) {
			body, _ := json.Marshal(map[string]any{"errors": []string{"blocked: " + string(request)}})
			return status, body
		}))
		for _, auth := range []vault.Auth{vault.Token{Token: credential}, vault.AppRole{RoleID: "role", SecretID: credential}, vault.JWT{Role: "role", File: jwt}} {
			_, err := open(t, vault.Config{Address: front.URL, Auth: auth}).Describe(t.Context(), "one")
			if text := fmt.Sprintf("%v %+v %#v", err, err, err); err == nil || strings.Contains(text, "4711") {
				t.Errorf("%d, %T: the error is nil or holds the credential", status, auth)
			}
		}
	}
}
