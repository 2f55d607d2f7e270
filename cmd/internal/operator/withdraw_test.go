package operator

import (
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// TestWithdrawSparesAnotherWriter: a value that was given up goes, and not what another
// writer put in its place under the same id.
func TestWithdrawSparesAnotherWriter(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	d, err := vault.Open(vault.Config{Address: bao.URL, Auth: vault.Token{Token: bao.Root}})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.New("main", d, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := place{spec: secret.Spec{ID: "KEY", Store: "main"}, store: st}
	put := func(token secret.Token, replace secret.VersionID) secret.Version {
		t.Helper()
		v, err := st.Put(t.Context(), "KEY", store.Write{Token: token, Value: secret.NewValue([]byte("Value-" + token)), Replace: replace, Create: true})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	pending := func() secret.Token {
		t.Helper()
		m, err := st.Describe(t.Context(), "KEY")
		if err != nil {
			return ""
		}
		p, _ := m.At(secret.StagePending)
		return p.Token
	}
	mine := put("mine", "")
	other := put("other", mine.ID)
	if mine.ID != other.ID {
		t.Fatalf("the ids are %s and %s, want the same one", mine.ID, other.ID)
	}
	if err := at.withdraw(t.Context(), mine); err != nil || pending() != "other" {
		t.Errorf("withdraw what was replaced: %v; %q is pending", err, pending())
	}
	for range 2 {
		if err := at.withdraw(t.Context(), other); err != nil || pending() != "" {
			t.Errorf("withdraw what is pending: %v; %q is pending", err, pending())
		}
	}
}
