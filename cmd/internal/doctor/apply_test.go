package doctor

import (
	"bytes"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// TestAPendingVersionIsWithdrawn from the embedded store, on record, and one that has
// become current since is not.
func TestAPendingVersionIsWithdrawn(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	js, err := jetstream.New(srv.Connect())
	if err != nil {
		t.Fatal(err)
	}
	kv, err := natskv.Open(t.Context(), natskv.Config{JS: js, MasterKey: bytes.Repeat([]byte{1}, natskv.MasterKeySize)})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.New("main", kv, nil)
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.New(catalog.Config{Stores: stores, Specs: []secret.Spec{{ID: "a", Store: "main", TTL: time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}
	r := operator.Reached{Parts: &wire.Parts{Bus: srv.NewBus(events.StreamOptions{}), Source: "/test"}, Catalog: c, Stores: stores}
	put := func(token secret.Token, from secret.VersionID) secret.VersionID {
		t.Helper()
		v, err := st.Put(t.Context(), "a", store.Write{Token: token, From: from, Value: secret.NewValue([]byte("Value-" + token)), Create: true})
		if err != nil {
			t.Fatal(err)
		}
		return v.ID
	}
	fix := func(v secret.VersionID, token secret.Token) {
		t.Helper()
		found := []Finding{doubtful(CodePendingStuck, "a", "it was given up", "rotator doctor --fix").with(Fix{Kind: FixPending, SecretID: "a", VersionID: v, Token: token})}
		if Apply(t.Context(), r, found, operator.Why{Ticket: "OPS-1"}); !found[0].Fixed {
			t.Fatalf("not fixed: %+v", found[0])
		}
	}
	first := put("first", "")
	if err := st.Promote(t.Context(), "a", "", first); err != nil {
		t.Fatal(err)
	}
	second := put("second", first)
	fix(second, "second")
	fix(second, "second")
	fix(first, "first")
	third := put("third", first)
	fix(third, "replaced by the third under its id")
	if m, err := st.Describe(t.Context(), "a"); err != nil || len(m.Versions) == 0 || m.Versions[len(m.Versions)-1].Stage != secret.StagePending {
		t.Errorf("a version that is not the one of the finding was withdrawn: %+v, %v", m.Versions, err)
	}
	fix(third, "third")
	m, err := st.Describe(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := m.At(secret.StagePending); ok || m.Current().ID != first {
		t.Errorf("pending is %q, current %q; want none, and version %s", v.ID, m.Current().ID, first)
	}
	acts, err := r.Parts.Bus.TrustedActs(t.Context(), "a")
	if err != nil || len(acts) != 5 || acts[0].Kind != events.ActFix || acts[0].VersionID != second || acts[0].Ticket != "OPS-1" {
		t.Errorf("the acts on record are %+v, %v", acts, err)
	}
}
