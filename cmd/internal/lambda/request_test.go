package lambda

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

const anARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-AbC12f"

func TestDecode(t *testing.T) {
	t.Parallel()
	const token = "b95d1402-5c0e-8d4b-9f5d-0c1f0b1f9a77"
	r, err := decode([]byte(`{"Step":"setSecret","SecretId":"` + anARN + `","ClientRequestToken":"` + token + `","RotationToken":"sensitive","Later":{"AWS":"may add"}}`))
	if err != nil || r.rotation == nil || r.rotation.Step != StepSet || r.rotation.SecretID != anARN || r.rotation.Token != token ||
		string(r.rotation.RotationToken.Reveal()) != "sensitive" {
		t.Errorf("a rotation: %+v, %v", r.rotation, err)
	}
	r, err = decode([]byte(`{"action":"status","secret_ids":["a","b"]}`))
	if err != nil || r.command == nil || r.command.Action != ActionStatus || len(r.command.SecretIDs) != 2 {
		t.Errorf("a command: %+v, %v", r.command, err)
	}
	event := `{"source":"aws.secretsmanager","detail-type":"AWS API Call via CloudTrail","detail":{}}`
	if r, err = decode([]byte(event)); err != nil || string(r.event) != event {
		t.Errorf("an event: %s, %v", r.event, err)
	}
	// JSON of Go matches names without regard to case; the names of a request are exact.
	if _, err := decode([]byte(`{"step":"setSecret","secretid":"` + anARN + `","clientrequesttoken":"` + token + `"}`)); !errors.Is(err, ErrRequest) {
		t.Errorf("names in another case: %v", err)
	}
}

// FuzzDecode holds that whatever is sent is refused without a word of it, or is
// exactly one request that keeps what is promised of it.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Step":"createSecret","SecretId":"` + anARN + `","ClientRequestToken":"b95d1402-5c0e-8d4b-9f5d-0c1f0b1f9a77","RotationToken":"x"}`))
	f.Add([]byte(`{"action":"rotate","secret_id":"prod/db"}`))
	f.Add([]byte(`{"action":"plan","secret_ids":["prod/db"]}`))
	f.Add([]byte(`{"source":"aws.secretsmanager","detail-type":"x","detail":{}}`))
	f.Add([]byte(`{"Step":null}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := decode(payload)
		if err != nil {
			if !errors.Is(err, ErrRequest) || len(err.Error()) > 250 {
				t.Fatalf("refused by %v", err)
			}
			// No run of the payload that an author could mean stands in the text.
			for _, word := range strings.FieldsFunc(string(payload), func(r rune) bool { return r < '0' || r > 'z' }) {
				if len(word) > 24 && strings.Contains(err.Error(), word) {
					t.Fatalf("the refusal quotes %q", word)
				}
			}
			return
		}
		kinds := 0
		for _, set := range []bool{r.rotation != nil, r.event != nil, r.command != nil} {
			if set {
				kinds++
			}
		}
		if kinds != 1 {
			t.Fatalf("%d kinds at once", kinds)
		}
		if x := r.rotation; x != nil && (phases[x.Step] == "" || secret.VersionID(x.Token).Validate() != nil || secret.ID(x.SecretID).Validate() != nil) {
			t.Fatalf("a rotation that keeps no promise: %+v", x)
		}
		if r.event != nil && !json.Valid(r.event) {
			t.Fatal("an event that is no JSON")
		}
	})
}
