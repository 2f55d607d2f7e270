package secret

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
)

const (
	// DefaultMinLength is [Policy.MinLength] unless a policy says otherwise.
	DefaultMinLength = 16
	// DefaultLength is [Policy.Length] unless a policy says otherwise.
	DefaultLength = 36
	// DefaultBytes is [Policy.Bytes] unless a policy says otherwise.
	DefaultBytes = 32
	// MinBytes is the least that [Policy.Bytes] may be.
	MinBytes = 8
	// DefaultSymbols are the symbols of generated values. With letters and digits
	// they need no quoting in a URL, a DSN, a shell, an env file, JSON, YAML, an INI
	// file or an Authorization header, and a value does not begin like an option.
	// DefaultLength makes up for the fewer symbols.
	DefaultSymbols = "._"
)

// Policy is what a value has to look like. The zero value is the default
// policy: at least 16 characters with an upper-case letter, a lower-case
// letter, a digit and a symbol; generated values have 36. Lengths are counted
// in characters. Generated values are ASCII.
type Policy struct {
	// MinLength is the least number of characters. 0 means DefaultMinLength.
	MinLength int `json:"min_length,omitempty"`
	// MaxLength is the largest number of characters. 0 means no limit but
	// MaxValueLength.
	MaxLength int `json:"max_length,omitempty"`
	// Length is the number of characters of a generated value. 0 means
	// DefaultLength, or as near to it as MinLength and MaxLength allow.
	Length int `json:"length,omitempty"`
	// Classes are the kinds of character that a value must contain. Nil means
	// all four, empty none.
	Classes []Class `json:"classes,omitzero"`
	// Alphabet is the set of ASCII characters that values are made of; Symbols
	// has no effect beside it. "" lets a value have any characters and generates
	// from those of the required classes, or from letters and digits where none
	// is required.
	Alphabet string `json:"alphabet,omitempty"`
	// Symbols are the symbols that generated values use where the class symbol
	// is required; a space may be among them. "" means DefaultSymbols, or any
	// punctuation of ASCII where Exclude leaves none of these. Values written by
	// others may have any symbol.
	Symbols string `json:"symbols,omitempty"`
	// Exclude are characters that a value must not contain.
	Exclude string `json:"exclude,omitempty"`
	// Encoding says how a value is written. "" means text. The other encodings
	// are random bytes, whose number alone gives the length: beside them MinLength
	// has no effect, and the other fields above must not be set.
	Encoding Encoding `json:"encoding,omitempty"`
	// Bytes is the number of random bytes behind hex, base64 and base64url, at
	// least MinBytes. 0 means DefaultBytes.
	Bytes int `json:"bytes,omitempty"`
	// Field is the JSON Pointer (RFC 6901) of the one field that the policy is
	// about, for a secret that is a JSON document; the rest of the document is
	// left as it is, byte for byte. "" means that the whole value is meant.
	Field string `json:"field,omitempty"`
	// Whole lets a generated value replace a current one that is a document, a
	// connection string, several lines or binary data. Otherwise that is refused:
	// a rotation does not change the shape of a value. It has no effect beside
	// Field.
	Whole bool `json:"whole,omitempty"`
	// Use says where the value has to fit in. "" means [UseText], and [UseToken]
	// for the secret with [AdminTokenID].
	Use Use `json:"use,omitempty"`
}

// DefaultPolicy returns the policy of a secret that sets none: the zero Policy.
func DefaultPolicy() Policy { return Policy{} }

// Hash returns 16 hexadecimal digits that name the rules of a valid policy: the
// same for two policies that ask for the same, whichever way they are written,
// and from one release to the next.
func (p Policy) Hash() string {
	var rules struct {
		Encoding, Field            string
		Min, Max, Length, Bytes    int
		Classes                    []Class
		Alphabet, Symbols, Exclude string
		Whole                      bool `json:",omitempty"`
		Token                      bool `json:",omitempty"`
	}
	rules.Whole, rules.Token = p.Whole, p.use() == UseToken
	rules.Encoding, rules.Field = string(p.encoding()), p.Field
	if p.encoding() == EncodingText {
		rules.Min, rules.Max, rules.Length = p.minLength(), p.maxLength(), p.hashedLength()
		rules.Classes = slices.Sorted(slices.Values(p.classes()))
		rules.Alphabet, rules.Exclude = charsOf(p.Alphabet).String(), runesOf(p.Exclude)
		if p.Alphabet == "" {
			rules.Symbols = p.hashedSymbols().String()
		}
	} else {
		rules.Bytes = p.rawBytes()
	}
	b, err := json.Marshal(rules) //nolint:musttag // hashed, never read back
	if err != nil {
		panic("secret: strings and numbers do not marshal: " + err.Error())
	}
	sum := sha256.Sum256(append([]byte("rotator/policy/v1\x00"), b...))
	return fmt.Sprintf("%x", sum[:8])
}

// The defaults of earlier releases. The hash of the default policy keeps them, so
// that a rotation which one release began is finished by the next.
const hashedDefaultLength = 32

func (p Policy) hashedLength() int {
	if p.length() == p.clamp(DefaultLength) {
		return p.clamp(hashedDefaultLength)
	}
	return p.length()
}

func (p Policy) hashedSymbols() charSet {
	if s := p.symbols(); s != charsOf(DefaultSymbols) {
		return s
	}
	return ClassSymbol.set()
}

// runesOf returns every character of s once, in order.
func runesOf(s string) string {
	return string(slices.Compact(slices.Sorted(slices.Values([]rune(s)))))
}

func (p Policy) encoding() Encoding { return cmp.Or(p.Encoding, EncodingText) }
func (p Policy) minLength() int     { return cmp.Or(p.MinLength, DefaultMinLength) }
func (p Policy) maxLength() int     { return cmp.Or(p.MaxLength, MaxValueLength) }

func (p Policy) length() int {
	return cmp.Or(p.Length, p.clamp(DefaultLength))
}

// clamp returns a length as near to n as the bounds allow.
func (p Policy) clamp(n int) int { return min(max(n, p.minLength()), p.maxLength()) }

func (p Policy) classes() []Class {
	if p.Classes == nil {
		return allClasses
	}
	return p.Classes
}

// symbols returns the symbols that generated values use.
func (p Policy) symbols() charSet {
	if p.Symbols != "" {
		return charsOf(p.Symbols)
	}
	if s := charsOf(DefaultSymbols); !s.except(charsOf(p.Exclude)).empty() {
		return s
	}
	return ClassSymbol.set()
}

// alphabet returns the characters that generated values are made of, given
// those of the required classes.
func (p Policy) alphabet(required charSet) charSet {
	switch {
	case p.Alphabet != "":
		required = charsOf(p.Alphabet)
	case required.empty():
		required = alphanumeric
	case !required.and(ClassSymbol.set()).empty():
		required = required.except(ClassSymbol.set()).or(p.symbols())
	}
	return required.except(charsOf(p.Exclude))
}
