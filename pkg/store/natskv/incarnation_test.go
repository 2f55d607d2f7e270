package natskv_test

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// TestARecreatedSecretHasVersionsOfItsOwn: an operator deletes the secret with all
// its values, and a rotation makes it anew under the same token.
func TestARecreatedSecretHasVersionsOfItsOwn(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	d := open(t, js, masterKey(1))
	before := write(t, d, "one", "Value-Of-One-000!")
	stream, err := js.Stream(t.Context(), "KV_"+natskv.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"$KV.secrets.s.>", "$KV.secrets.v.>"} {
		if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
			t.Fatal(err)
		}
	}
	if after := write(t, d, "one", "Value-Of-One-000!"); after == before {
		t.Errorf("the version of the new secret has the id %s of the one before", after)
	}
}

// TestADocumentOfAnEarlierVersionKeepsItsIDs, in which a version has its token as id.
func TestADocumentOfAnEarlierVersionKeepsItsIDs(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	d := open(t, js, masterKey(1))
	kv, err := js.KeyValue(t.Context(), natskv.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(map[string]any{"path": "old", "versions": []any{map[string]any{"id": "t1", "stage": "current", "token": "t1", "empty": true}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "s.old", doc); err != nil {
		t.Fatal(err)
	}
	v, err := d.Put(t.Context(), "old", store.Write{Token: "t2", From: "t1", Value: secret.NewValue([]byte("Value-Of-Two-000!"))})
	if err != nil || v.ID != "t2" {
		t.Errorf("the next version is %q, %v; want its token t2", v.ID, err)
	}
}
