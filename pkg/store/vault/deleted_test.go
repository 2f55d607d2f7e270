package vault_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestAVersionThatWasTakenAwayByHand is told from one that never was, and is not
// replaced by a rotation by hand.
func TestAVersionThatWasTakenAwayByHand(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	d := open(t, asRoot(bao))
	for how, want := range map[string]string{"delete": "was deleted in the store; vault kv undelete -versions=1", "destroy": "was destroyed in the store", "": ""} {
		path := "by-hand/" + how
		rotate(t, d, path, 1)
		if how != "" {
			bao.Do(t, http.MethodPost, "secret/"+how+"/"+path, map[string]any{"versions": []int{1}}, nil)
		}
		d := open(t, asRoot(bao))
		m, err := d.Describe(t.Context(), path)
		if err != nil || !strings.Contains(m.Deleted, want) || (m.Deleted == "") != (how == "") {
			t.Errorf("%s: %q, err %v; want %q", how, m.Deleted, err, want)
		}
		_, err = rotation.Manual(time.Now(), "", secret.Spec{ID: "ID", Create: true}, m, nil)
		if errors.Is(err, store.ErrDeleted) != (how != "") {
			t.Errorf("%s: a rotation by hand: %v", how, err)
		}
	}
}
