package vault_test

import (
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/store/vault"
)

// TestAnAddressHasAScheme, and the error says how to write it.
func TestAnAddressHasAScheme(t *testing.T) {
	t.Parallel()
	d, err := vault.Open(vault.Config{Address: "127.0.0.1:8200", Lookup: lookup(nil)})
	if err == nil {
		_ = d.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "has no scheme: write https://") {
		t.Errorf("err %v", err)
	}
}
