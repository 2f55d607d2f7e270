package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Violation is one rule that a value breaks.
type Violation struct {
	// Rule is a constant name: min_length, max_length, upper, lower, digit,
	// symbol, alphabet, exclude, encoding, field.
	Rule string
	// Remedy says what to do. It tells nothing about the value.
	Remedy string
}

// ViolationError is what [Policy.Check] returns: every rule that the value
// breaks, and nothing of the value.
type ViolationError struct{ Violations []Violation }

func (e *ViolationError) Error() string {
	parts := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		parts[i] = v.Remedy
	}
	return "the value breaks its policy: " + strings.Join(parts, "; ")
}

// Check returns a [*ViolationError] with all rules that v breaks, or nil.
func (p Policy) Check(v Value) error {
	text, found := v.Reveal(), []Violation(nil)
	if p.Field != "" {
		field, err := fieldOf(text, p.Field)
		if err != nil {
			return &ViolationError{[]Violation{{"field", fmt.Sprintf("make it a JSON document with a string at %s", p.Field)}}}
		}
		text = []byte(field)
	}
	if p.encoding() == EncodingText {
		found = p.checkText(text)
	} else if !p.decodes(string(text)) {
		found = []Violation{{"encoding", fmt.Sprintf("write it as %s of %d bytes", p.encoding(), p.rawBytes())}}
	}
	if len(found) > 0 {
		return &ViolationError{found}
	}
	return nil
}

func (p Policy) checkText(text []byte) []Violation {
	var out []Violation
	if !utf8.Valid(text) {
		return []Violation{{"encoding", "use text, not binary data"}}
	}
	n := utf8.RuneCount(text)
	if n < p.minLength() {
		out = append(out, Violation{"min_length", fmt.Sprintf("use at least %d characters", p.minLength())})
	}
	if n > p.maxLength() || len(text) > MaxValueLength {
		out = append(out, Violation{"max_length", fmt.Sprintf("use at most %d characters", p.maxLength())})
	}
	for _, c := range p.classes() {
		if !strings.ContainsFunc(string(text), c.has) {
			out = append(out, Violation{string(c), c.remedy()})
		}
	}
	if p.Alphabet != "" && strings.ContainsFunc(string(text), func(r rune) bool { return !strings.ContainsRune(p.Alphabet, r) }) {
		out = append(out, Violation{"alphabet", "use only the characters of the policy's alphabet"})
	}
	if p.Exclude != "" && strings.ContainsAny(string(text), p.Exclude) {
		out = append(out, Violation{"exclude", "use none of the characters that the policy excludes"})
	}
	return out
}

// has reports whether r is of the class. A symbol is any printable character
// that is neither a letter nor a digit nor a space, in any script.
func (c Class) has(r rune) bool {
	switch c {
	case ClassUpper:
		return unicode.IsUpper(r)
	case ClassLower:
		return unicode.IsLower(r)
	case ClassDigit:
		return unicode.IsDigit(r)
	case ClassSymbol:
		return unicode.IsPunct(r) || unicode.IsSymbol(r)
	default:
		return false
	}
}

func (c Class) remedy() string {
	switch c {
	case ClassUpper:
		return "add an upper-case letter"
	case ClassLower:
		return "add a lower-case letter"
	case ClassDigit:
		return "add a digit"
	default:
		return "add a symbol"
	}
}

func (p Policy) rawBytes() int {
	if p.Encoding == EncodingUUID {
		return 16
	}
	return p.bytes()
}

// decodes reports whether s is canonically encoded and as long as it has to be.
func (p Policy) decodes(s string) bool {
	var b []byte
	var err error
	switch p.Encoding {
	case EncodingHex:
		b, err = hex.DecodeString(s)
	case EncodingBase64:
		b, err = base64.StdEncoding.Strict().DecodeString(s)
	case EncodingBase64URL:
		b, err = base64.RawURLEncoding.Strict().DecodeString(s)
	case EncodingUUID:
		return isUUID(s)
	}
	return err == nil && len(b) >= p.bytes()
}

func isUUID(s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	_, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return err == nil
}

// fieldOf returns the string at the JSON Pointer in a document.
func fieldOf(doc []byte, pointer string) (string, error) {
	at, end, err := locate(doc, pointer)
	if err != nil {
		return "", err
	}
	var s string
	if err := json.Unmarshal(doc[at:end], &s); err != nil {
		return "", errNoField
	}
	return s, nil
}
