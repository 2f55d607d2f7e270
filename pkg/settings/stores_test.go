package settings_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/settings"
)

func TestLoginOfVault(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("of the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	both := map[string]string{"VAULT_ROLE_ID": "env-role", "VAULT_SECRET_ID": "env-secret"}
	ref := settings.Ref{File: file}
	for name, c := range map[string]struct {
		auth settings.VaultAuth
		vars map[string]string
		want settings.VaultAccess
		err  string
	}{
		"nothing is the token of the environment":  {settings.VaultAuth{}, nil, settings.VaultAccess{Method: "token"}, ""},
		"half of an approle is none":               {settings.VaultAuth{}, map[string]string{"VAULT_ROLE_ID": "x"}, settings.VaultAccess{Method: "token"}, ""},
		"the variables of an approle":              {settings.VaultAuth{}, both, settings.VaultAccess{Method: "approle", RoleID: "env-role", SecretID: "env-secret"}, ""},
		"a method wins over variables":             {settings.VaultAuth{Method: "token"}, both, settings.VaultAccess{Method: "token"}, ""},
		"a token wins over variables":              {settings.VaultAuth{Token: ref}, both, settings.VaultAccess{Method: "token", Token: "of the file"}, ""},
		"a role id with a secret id of a variable": {settings.VaultAuth{RoleID: "r", Mount: "m"}, both, settings.VaultAccess{Method: "approle", AuthMount: "m", RoleID: "r", SecretID: "env-secret"}, ""},
		"an approle that is written out":           {settings.VaultAuth{Method: "approle", RoleID: "r", SecretID: ref}, both, settings.VaultAccess{Method: "approle", RoleID: "r", SecretID: "of the file"}, ""},
		"kubernetes":                               {settings.VaultAuth{Method: "kubernetes", Role: "r"}, nil, settings.VaultAccess{Method: "kubernetes", Role: "r"}, ""},
		"jwt":                                      {settings.VaultAuth{Method: "jwt", Role: "r", TokenFile: "f"}, nil, settings.VaultAccess{Method: "jwt", Role: "r", TokenFile: "f"}, ""},
		"an approle without anything":              {settings.VaultAuth{Method: "approle"}, nil, settings.VaultAccess{}, "needs role_id or VAULT_ROLE_ID, and secret_id or VAULT_SECRET_ID"},
		"kubernetes without a role":                {settings.VaultAuth{Method: "kubernetes"}, nil, settings.VaultAccess{}, "the method kubernetes needs role"},
		"jwt without anything":                     {settings.VaultAuth{Method: "jwt"}, nil, settings.VaultAccess{}, "the method jwt needs role, and token_file"},
		"another method":                           {settings.VaultAuth{Method: "ldap"}, nil, settings.VaultAccess{}, `"ldap" is none of token`},
		"a secret that cannot be read":             {settings.VaultAuth{Token: settings.Ref{File: "/nowhere"}}, nil, settings.VaultAccess{}, "auth.token: read file /nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := settings.Vault{Auth: c.auth}.Access(func(name string) (string, bool) { v, ok := c.vars[name]; return v, ok })
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("%v, want %q", err, c.err)
			}
			got.ReadSecretID, got.ReadToken = nil, nil // a struct with functions is not comparable
			if err == nil && fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestFilesOfALoginAreReadAgain: only what is in a file can be replaced.
func TestFilesOfALoginAreReadAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret-id")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("first\n")
	lookup := func(string) (string, bool) { return "of the variable", true }
	a, err := settings.Vault{Auth: settings.VaultAuth{Method: "approle", RoleID: "r", SecretID: settings.Ref{File: file}}}.Access(lookup)
	if err != nil {
		t.Fatal(err)
	}
	put("second\n")
	if got, err := a.ReadSecretID(); got != "second" || err != nil || a.SecretID != "first" {
		t.Errorf("read again: %q, err %v; at first %q", got, err, a.SecretID)
	}
	put("")
	if got, err := a.ReadSecretID(); err == nil {
		t.Errorf("an empty file is %q, want an error", got)
	}
	a, err = settings.Vault{Auth: settings.VaultAuth{Token: settings.Ref{Env: "X"}}}.Access(lookup)
	if err != nil || a.ReadToken != nil {
		t.Errorf("a variable is read again, err %v", err)
	}
}
