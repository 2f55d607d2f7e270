package vault_test

import (
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestNamesThatVaultAllows rotates secrets with such names twice, reads and lists
// them, through a Store as programs do.
func TestNamesThatVaultAllows(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	s, err := store.New("main", open(t, asRoot(bao)), nil)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"team a/db", "rds!cluster-1", "100%/a%2Fb", "schlüssel/鍵", "a?b#c&d", "it's \"so\""}
	for _, name := range names {
		for n, from := range []string{"", "1"} {
			w := write(name, n+1, "")
			if from != "" {
				w.From = "1"
			}
			v, err := s.Put(t.Context(), name, w)
			if err == nil {
				err = s.Promote(t.Context(), name, w.From, v.ID)
			}
			if err != nil {
				t.Fatalf("%q: %v", name, err)
			}
		}
		if v, _, err := s.Get(t.Context(), name, store.Selector{}); err != nil || v.ID != "2" {
			t.Errorf("%q: get: version %s, err %v", name, v.ID, err)
		}
	}
	listed := map[string]bool{}
	for m, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		listed[m.Path] = true
	}
	for _, name := range names {
		if !listed[name] {
			t.Errorf("%q is not listed among %v", name, listed)
		}
	}
}
