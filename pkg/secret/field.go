package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrNoField is wrapped by the error of [Policy.Next] when the current value is
// no JSON document with a string or null at [Policy.Field], and by that of
// [Value.Field]. It says nothing else about the document.
var ErrNoField = errors.New("the document has no string there")

// unescape turns a reference token of a JSON Pointer into a name.
var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// Field returns the string at a JSON Pointer in a value that is a JSON document,
// such as /password. The error wraps [ErrNoField].
func (v Value) Field(pointer string) (Value, error) {
	if !isPointer(pointer) {
		return Value{}, fmt.Errorf("%w: %q is no JSON Pointer", ErrNoField, pointer)
	}
	s, err := fieldOf(v.Reveal(), pointer)
	if err != nil {
		return Value{}, fmt.Errorf("field %s: %w", pointer, err)
	}
	return NewValue(s), nil
}

// isPointer reports whether s is a JSON Pointer to something in a document.
func isPointer(s string) bool {
	rest := strings.NewReplacer("~0", "", "~1", "").Replace(s)
	return strings.HasPrefix(s, "/") && !strings.Contains(rest, "~") && utf8.ValidString(s)
}

// locate returns where the JSON value at the pointer starts and ends in doc.
func locate(doc []byte, pointer string) (start, end int, err error) {
	if bytes.HasPrefix(doc, []byte("\ufeff")) {
		return 0, 0, fmt.Errorf("%w: it begins with a byte order mark (BOM); write it again without", ErrNoField)
	}
	if !json.Valid(doc) {
		return 0, 0, ErrNoField
	}
	start, end = 0, len(doc)
	for token := range strings.SplitSeq(pointer[1:], "/") {
		s, e, ok := child(doc[start:end], unescape.Replace(token))
		if !ok {
			return 0, 0, ErrNoField
		}
		start, end = start+s, start+e
	}
	return start, end, nil
}

// child returns where the member or element called name lies in the valid JSON
// value doc. Of two members with one name the last counts, as in encoding/json.
func child(doc []byte, name string) (start, end int, found bool) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	open, _ := dec.Token()
	if open != json.Delim('{') && open != json.Delim('[') {
		return 0, 0, false
	}
	for i := 0; dec.More(); i++ {
		key := strconv.Itoa(i)
		if open == json.Delim('{') {
			k, _ := dec.Token()
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

// fieldOf returns the string at the pointer in a document.
func fieldOf(doc []byte, pointer string) ([]byte, error) {
	start, end, err := locate(doc, pointer)
	if err != nil {
		return nil, err
	}
	var s *string
	if err := json.Unmarshal(doc[start:end], &s); err != nil || s == nil {
		return nil, ErrNoField // the decoder's own error could quote the value
	}
	return []byte(*s), nil
}

// withField returns doc with the string or null at the pointer replaced by the
// ASCII string s.
func withField(doc []byte, pointer string, s []byte) ([]byte, error) {
	start, end, err := locate(doc, pointer)
	if err != nil {
		return nil, err
	}
	if doc[start] != '"' && doc[start] != 'n' {
		return nil, ErrNoField
	}
	out := append(make([]byte, 0, len(doc)+2*len(s)+2), doc[:start]...)
	out = appendQuoted(out, s)
	out = append(out, doc[end:]...)
	if len(out) > MaxValueLength {
		return nil, fmt.Errorf("the document would have more than %d bytes", MaxValueLength)
	}
	return out, nil
}

// appendQuoted appends printable ASCII as a JSON string. Unlike encoding/json
// it leaves <, > and & as they are.
func appendQuoted(out, s []byte) []byte {
	out = append(out, '"')
	for _, c := range s {
		if c == '"' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return append(out, '"')
}

// WithField returns the document with a string in place of the string or null that
// a JSON Pointer names. The rest of the document stays byte for byte. Errors quote
// nothing of the document.
func (v Value) WithField(pointer, s string) (Value, error) {
	if !isPointer(pointer) {
		return Value{}, fmt.Errorf("%w: %q is no JSON Pointer", ErrNoField, pointer)
	}
	doc, err := withField(v.Reveal(), pointer, []byte(s))
	if err == nil && !json.Valid(doc) {
		err = errors.New("the text has control characters")
	}
	if err != nil {
		return Value{}, fmt.Errorf("field %s: %w", pointer, err)
	}
	return NewValue(doc), nil
}
