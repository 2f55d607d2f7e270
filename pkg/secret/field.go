package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// errNoField deliberately says nothing about the document.
var errNoField = errors.New("the document has no string at the policy's field")

// locate returns where the JSON value at the pointer starts and ends in doc.
// Objects and arrays are walked token by token, so that replacing the value
// leaves every other byte of the document as it is.
func locate(doc []byte, pointer string) (start, end int, err error) {
	if !json.Valid(doc) {
		return 0, 0, fmt.Errorf("%w: it is not JSON", errNoField)
	}
	start, end = 0, len(doc)
	for _, token := range strings.Split(pointer, "/")[1:] {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		s, e, ok := child(doc[start:end], token)
		if !ok {
			return 0, 0, errNoField
		}
		start, end = start+s, start+e
	}
	return start, end, nil
}

// child returns where the member or element called name lies in the JSON value
// doc. Of two members with one name the last counts, as in encoding/json.
func child(doc []byte, name string) (start, end int, found bool) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	open, err := dec.Token()
	if err != nil || open != json.Delim('{') && open != json.Delim('[') {
		return 0, 0, false
	}
	for i := 0; dec.More(); i++ {
		key := strconv.Itoa(i)
		if open == json.Delim('{') {
			k, err := dec.Token()
			if err != nil {
				return 0, 0, false
			}
			key, _ = k.(string)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return 0, 0, false
		}
		if key == name {
			end = int(dec.InputOffset())
			start, found = end-len(raw), true
		}
	}
	return start, end, found
}

// withField returns doc with the value at the pointer replaced by the string s.
func withField(doc []byte, pointer, s string) ([]byte, error) {
	start, end, err := locate(doc, pointer)
	if err != nil {
		return nil, err
	}
	quoted := &bytes.Buffer{}
	enc := json.NewEncoder(quoted)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return nil, errNoField
	}
	return bytes.Join([][]byte{doc[:start], bytes.TrimSpace(quoted.Bytes()), doc[end:]}, nil), nil
}
