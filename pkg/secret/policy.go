package secret

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Class is a kind of character that a policy can require.
type Class string

// The classes.
const (
	ClassUpper  Class = "upper"
	ClassLower  Class = "lower"
	ClassDigit  Class = "digit"
	ClassSymbol Class = "symbol"
)

// Encoding says how a generated value is written.
type Encoding string

// The encodings. Every one but text writes random bytes, so that length and
// alphabet follow from their number.
const (
	EncodingText      Encoding = "text"
	EncodingHex       Encoding = "hex"
	EncodingBase64    Encoding = "base64"
	EncodingBase64URL Encoding = "base64url"
	EncodingUUID      Encoding = "uuid"
)

const (
	// DefaultMinLength is [Policy.MinLength] unless a policy says otherwise.
	DefaultMinLength = 16
	// DefaultLength is [Policy.Length] unless a policy says otherwise.
	DefaultLength = 32
	// DefaultBytes is [Policy.Bytes] unless a policy says otherwise.
	DefaultBytes = 32
	// DefaultSymbols are the symbols of generated values: the punctuation of
	// ASCII, which is also what GetRandomPassword of AWS Secrets Manager uses.
	DefaultSymbols = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

	upperLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lowerLetters = "abcdefghijklmnopqrstuvwxyz"
	digits       = "0123456789"
)

// Policy is what a value has to look like. The zero value is the default
// policy: at least 16 characters with an upper-case letter, a lower-case
// letter, a digit and a symbol; generated values have 32.
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
	// all four.
	Classes []Class `json:"classes,omitempty"`
	// Alphabet is the set of ASCII characters that values are made of. "" means
	// the characters of the required classes.
	Alphabet string `json:"alphabet,omitempty"`
	// Symbols are the symbols that generated values use. "" means
	// DefaultSymbols.
	Symbols string `json:"symbols,omitempty"`
	// Exclude are characters that a value must not contain.
	Exclude string `json:"exclude,omitempty"`
	// Encoding says how a value is written. "" means text. The other encodings
	// are random bytes, for which the fields above do not apply.
	Encoding Encoding `json:"encoding,omitempty"`
	// Bytes is the number of random bytes behind hex, base64 and base64url. 0
	// means DefaultBytes.
	Bytes int `json:"bytes,omitempty"`
	// Field is the JSON Pointer (RFC 6901) of the one field that the policy is
	// about, for a secret that is a JSON document; the rest of the document is
	// left as it is. "" means that the whole value is meant.
	Field string `json:"field,omitempty"`
}

// DefaultPolicy returns the policy of a secret that sets none.
func DefaultPolicy() Policy { return Policy{} }

// ErrInvalidPolicy is wrapped by the errors of [Policy.Validate].
var ErrInvalidPolicy = errors.New("invalid policy")

// Validate returns every reason why no value can satisfy the policy, each
// wrapping [ErrInvalidPolicy].
func (p Policy) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", ErrInvalidPolicy, fmt.Sprintf(format, args...)))
	}
	if p.Field != "" && !strings.HasPrefix(p.Field, "/") {
		bad("field %q is no JSON Pointer: it starts with /", p.Field)
	}
	switch p.Encoding {
	case "", EncodingText:
		p.validateText(bad)
	case EncodingHex, EncodingBase64, EncodingBase64URL:
		if n := p.bytes(); n < 8 || n > MaxValueLength/2 {
			bad("bytes is %d, want 8 to %d", p.Bytes, MaxValueLength/2)
		}
	case EncodingUUID:
	default:
		bad("encoding %q is unknown, use text, hex, base64, base64url or uuid", p.Encoding)
	}
	return errors.Join(errs...)
}

func (p Policy) validateText(bad func(string, ...any)) {
	if p.MinLength < 0 || p.MaxLength < 0 || p.Length < 0 {
		bad("a length is negative")
		return
	}
	lo, hi, n := p.minLength(), p.maxLength(), p.length()
	if lo > hi {
		bad("min_length %d is larger than max_length %d", lo, hi)
	}
	if n < lo || n > hi {
		bad("length %d is not between min_length %d and max_length %d", n, lo, hi)
	}
	for _, set := range []struct{ name, chars string }{{"alphabet", p.Alphabet}, {"symbols", p.Symbols}} {
		if i := strings.IndexFunc(set.chars, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
			bad("%s has a character at byte %d that is not printable ASCII", set.name, i)
		}
	}
	p.validateClasses(n, bad)
}

func (p Policy) validateClasses(n int, bad func(string, ...any)) {
	alphabet := p.alphabet()
	if len(alphabet) < 2 {
		bad("fewer than two characters are left to make values of")
	}
	for _, c := range p.classes() {
		chars, known := p.chars(c)
		switch {
		case !known:
			bad("class %q is unknown, use upper, lower, digit or symbol", c)
		case !strings.ContainsAny(string(alphabet), chars):
			bad("class %s is required and alphabet and exclude leave no character of it", c)
		}
	}
	if need := len(p.classes()); n < need {
		bad("length %d is too short for %d required classes", n, need)
	}
}

// Hash returns a short name for the rules of the policy: the same for two
// policies that ask for the same, whatever way they are written in.
func (p Policy) Hash() string {
	canonical := struct {
		Min, Max, Length, Bytes          int
		Classes                          []Class
		Alphabet, Symbols, Exclude, Kind string
		Field                            string
	}{Kind: string(p.encoding()), Field: p.Field}
	if p.encoding() == EncodingText {
		canonical.Min, canonical.Max, canonical.Length = p.minLength(), p.maxLength(), p.length()
		canonical.Classes, canonical.Alphabet, canonical.Symbols, canonical.Exclude = p.classes(), p.Alphabet, p.symbols(), p.Exclude
	} else {
		canonical.Bytes = p.bytes()
	}
	b, err := json.Marshal(canonical)
	if err != nil {
		panic("secret: a struct of strings and numbers does not marshal: " + err.Error())
	}
	sum := sha256.Sum256(append([]byte("rotator/policy/v1\x00"), b...))
	return hex.EncodeToString(sum[:8])
}

func (p Policy) encoding() Encoding {
	if p.Encoding == "" {
		return EncodingText
	}
	return p.Encoding
}

func (p Policy) minLength() int {
	if p.MinLength == 0 {
		return DefaultMinLength
	}
	return p.MinLength
}

func (p Policy) maxLength() int {
	if p.MaxLength == 0 {
		return MaxValueLength
	}
	return p.MaxLength
}

func (p Policy) length() int {
	if p.Length == 0 {
		return min(max(DefaultLength, p.minLength()), p.maxLength())
	}
	return p.Length
}

func (p Policy) bytes() int {
	if p.Bytes == 0 {
		return DefaultBytes
	}
	return p.Bytes
}

func (p Policy) symbols() string {
	if p.Symbols == "" {
		return DefaultSymbols
	}
	return p.Symbols
}

func (p Policy) classes() []Class {
	if p.Classes == nil {
		return []Class{ClassUpper, ClassLower, ClassDigit, ClassSymbol}
	}
	return p.Classes
}

// chars returns the characters of a class, and false for an unknown one.
func (p Policy) chars(c Class) (string, bool) {
	switch c {
	case ClassUpper:
		return upperLetters, true
	case ClassLower:
		return lowerLetters, true
	case ClassDigit:
		return digits, true
	case ClassSymbol:
		return p.symbols(), true
	default:
		return "", false
	}
}

// alphabet returns the characters that generated values are made of, each
// once.
func (p Policy) alphabet() []byte {
	all := p.Alphabet
	if all == "" {
		for _, c := range p.classes() {
			chars, _ := p.chars(c)
			all += chars
		}
		if len(p.classes()) == 0 {
			all = upperLetters + lowerLetters + digits
		}
	}
	var out []byte
	var seen [utf8.RuneSelf]bool
	for i := range len(all) {
		c := all[i]
		if c < utf8.RuneSelf && !seen[c] && strings.IndexByte(p.Exclude, c) < 0 {
			seen[c] = true
			out = append(out, c)
		}
	}
	return out
}
