package operator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/target/hook"
)

// TestAForcedRevocationReachesTheTarget: the target revokes the version while the store
// still has its value. If the target fails, the value stays, so that the command can be
// repeated.
func TestAForcedRevocationReachesTheTarget(t *testing.T) {
	t.Parallel()
	var revoked []secret.VersionID
	fails := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q hook.Request
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Verb != "revoke" || q.Value == "" {
			t.Errorf("the target was asked to %s %s, %v", q.Verb, q.Version, err)
		}
		if fails {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		revoked = append(revoked, q.Version)
	}))
	defer server.Close()

	st, err := store.New("main", storetest.NewMem(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.New(catalog.Config{Specs: []secret.Spec{{ID: "A", Store: "main", Create: true}}, Stores: stores})
	if err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{
		Secrets: []config.Secret{{ID: "A", Target: config.SecretTarget{Name: "api"}}},
		Targets: map[string]config.Target{"api": {Options: &config.Hook{URL: server.URL, Overlap: "any", InUse: "none"}}},
	}
	p := &wire.Parts{Bus: eventstest.NewServer(t).NewBus(events.StreamOptions{}), Catalog: cat, Stores: stores, Source: "/test", Targets: wire.NewTargets(cfg, cat, stores)}
	var v secret.VersionID
	all := []secret.VersionID{}
	for _, text := range []string{"First-Value-0123456789", "Second-Value-0123456789"} {
		next, err := st.Put(t.Context(), "A", store.Write{Token: secret.NewToken("A", v, text, 0), From: v, Value: secret.NewValue([]byte(text)), Create: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Promote(t.Context(), "A", v, next.ID); err != nil {
			t.Fatal(err)
		}
		v = next.ID
		all = append(all, v)
	}
	why := Why{Reason: "test"}
	if out, err := Revoke(t.Context(), p, "A", all[0], true, why); err == nil || out.Done {
		t.Errorf("the target failed, and the command says %+v, %v", out, err)
	}
	if _, _, err := st.Get(t.Context(), "A", store.Selector{Version: all[0]}); err != nil {
		t.Errorf("the target failed, and the value is gone: %v", err)
	}
	fails = false
	if out, err := Revoke(t.Context(), p, "A", all[0], true, why); err != nil || !out.Done || !slices.Equal(revoked, all[:1]) {
		t.Errorf("%+v, %v, the target revoked %v, want %s", out, err, revoked, all[0])
	}
	if _, _, err := st.Get(t.Context(), "A", store.Selector{Version: all[0]}); err == nil {
		t.Error("the value is left in the store")
	}
}
