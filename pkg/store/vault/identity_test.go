package vault_test

import (
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// TestIdentity: a token that belongs to no entity shares its name with others, so it
// must not be taken for our own.
func TestIdentity(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	role := bao.AppRole(t, "rotator", `path "secret/*" { capabilities = ["read"] }`, "1h")
	d := open(t, vault.Config{Address: bao.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
	if got, err := d.Identity(t.Context()); err != nil || !strings.HasPrefix(got, "entity/") || len(got) < 20 {
		t.Errorf("Identity() of a role = %q, %v", got, err)
	}
	d = open(t, vault.Config{Address: bao.URL, Auth: vault.Token{Token: bao.Root}})
	if got, err := d.Identity(t.Context()); err != nil || got != "" {
		t.Errorf("Identity() of a root token = %q, %v; want none", got, err)
	}
}
