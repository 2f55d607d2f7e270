package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// The keys that hold a value which is no JSON document.
const (
	keyText   = "value"
	keyBase64 = "value_base64"
)

// encode returns what to write for a value. Only a document that comes back to
// the byte is written as one, and only where the secret is not known to hold
// its value under keyText.
func encode(v secret.Value, plain bool) map[string]any {
	raw := v.Reveal()
	if doc, ok := document(raw); ok && !plain {
		return doc
	}
	if utf8.Valid(raw) {
		return map[string]any{keyText: string(raw)}
	}
	return map[string]any{keyBase64: base64.StdEncoding.EncodeToString(raw)}
}

// document returns raw as a JSON object if decode gives the same bytes for it.
func document(raw []byte) (map[string]any, bool) {
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if len(raw) == 0 || raw[0] != '{' || dec.Decode(&doc) != nil || len(doc) == 0 {
		return nil, false
	}
	back, _, err := decode(doc)
	return doc, err == nil && bytes.Equal(back.Reveal(), raw)
}

// decode returns the value that data holds, and whether it is held as a whole
// under a key of ours.
func decode(data map[string]any) (v secret.Value, plain bool, err error) {
	if keys := slices.Collect(maps.Keys(data)); len(keys) == 1 {
		text, ok := data[keys[0]].(string)
		switch {
		case ok && keys[0] == keyText:
			return secret.NewValue([]byte(text)), true, nil
		case ok && keys[0] == keyBase64:
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return secret.Value{}, false, fmt.Errorf("%w: %s is no base64", store.ErrInvalid, keyBase64)
			}
			return secret.NewValue(raw), true, nil
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return secret.Value{}, false, fmt.Errorf("%w: the document does not encode", store.ErrInvalid)
	}
	return secret.NewValue(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), false, nil
}
