package vault_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// TestVersionsAreDatedByTheEngine: the clock of the writer is years behind, as that of
// a synctest bubble is, and the server is outside of it.
func TestVersionsAreDatedByTheEngine(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	begin := time.Now()
	synctest.Test(t, func(t *testing.T) {
		if behind := time.Until(begin); behind < 24*time.Hour {
			t.Fatalf("the clock of the writer is only %s behind", behind)
		}
		cfg := asRoot(bao)
		cfg.Transport = &http.Transport{DisableKeepAlives: true} // no connection outlives the bubble
		d := open(t, cfg)
		w := write("dated", 1, "")
		w.Lifetime = 30 * time.Second
		v, err := d.Put(t.Context(), "dated", w)
		if err == nil {
			err = d.Promote(t.Context(), "dated", "", v.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		if ahead, known := d.Skew(); !known || ahead < time.Until(begin.Add(-time.Second)) || ahead > time.Until(begin)+time.Hour {
			t.Errorf("the server is ahead by %s, known: %t", ahead, known)
		}
	})
	m, err := open(t, vault.Config{Address: bao.URL, Auth: vault.Token{Token: bao.Root}}).Describe(t.Context(), "dated")
	if err != nil {
		t.Fatal(err)
	}
	v := m.Current()
	if v.CreatedAt.Before(begin.Add(-time.Second)) || v.CreatedAt.After(time.Now()) || !v.NotAfter.Equal(v.CreatedAt.Add(30*time.Second)) {
		t.Errorf("made at %s, ends at %s; want within [%s, now] and 30 s later", v.CreatedAt, v.NotAfter, begin)
	}
	spec := secret.Spec{ID: "dated", Store: "main", TTL: 30 * time.Second}
	if end := spec.NotAfter(m, v); !end.Equal(v.NotAfter) {
		t.Errorf("the secret ends at %s, the version at %s", end, v.NotAfter)
	}
}
