package secret

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrInvalidPolicy is wrapped by the errors of [Policy.Validate], and by those
// of [Policy.Generate] and [Policy.Next] that no second try can mend.
var ErrInvalidPolicy = errors.New("invalid policy")

// problems collects everything that is wrong with a policy.
type problems []error

func (ps *problems) add(format string, args ...any) {
	*ps = append(*ps, fmt.Errorf("%w: %w", ErrInvalidPolicy, fmt.Errorf(format, args...)))
}

// recipe is what a policy for text comes down to for the generator.
type recipe struct {
	length   int
	alphabet charSet
	// required holds the required classes, the rest of the array is empty.
	required [classCount]charSet
}

// Validate returns every reason why no value can satisfy the policy or why a
// part of it does not apply to its encoding, joined, each wrapping
// [ErrInvalidPolicy]. A policy that it accepts can be generated from.
func (p Policy) Validate() error {
	_, err := p.compile()
	return err
}

// compile validates the policy. The recipe is of use for text only.
func (p Policy) compile() (recipe, error) {
	var found problems
	var made recipe
	if p.Field != "" && !isPointer(p.Field) {
		found.add("field %q is no JSON Pointer such as /password", p.Field)
	}
	p.validateUse(&found)
	switch p.encoding() {
	case EncodingText:
		made = p.compileText(&found)
	case EncodingHex, EncodingBase64, EncodingBase64URL, EncodingUUID:
		p.validateEncoded(&found)
	default:
		found.add("encoding %q is unknown, use text, hex, base64, base64url or uuid", p.Encoding)
	}
	return made, errors.Join(found...)
}

// validateEncoded refuses what would silently do nothing.
func (p Policy) validateEncoded(found *problems) {
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"max_length", p.MaxLength != 0},
		{"length", p.Length != 0},
		{"classes", p.Classes != nil},
		{"alphabet", p.Alphabet != ""},
		{"symbols", p.Symbols != ""},
		{"exclude", p.Exclude != ""},
		{"bytes", p.Encoding == EncodingUUID && p.Bytes != 0},
	} {
		if s.set {
			found.add("%s does not apply to encoding %s", s.name, p.Encoding)
		}
	}
	// Hex, the longest, has two characters a byte.
	if n := p.rawBytes(); n < MinBytes || n > MaxValueLength/2 {
		found.add("bytes is %d, want %d to %d", p.Bytes, MinBytes, MaxValueLength/2)
	}
}

func (p Policy) compileText(found *problems) recipe {
	if p.Bytes != 0 {
		found.add("bytes does not apply to encoding text")
	}
	p.validateLengths(found)
	p.validateCharacters(found)
	made := recipe{length: p.length()}
	made.alphabet = p.alphabet(made.require(p.classes(), found))
	if made.alphabet.size() < 2 {
		found.add("fewer than two characters are left to make values of")
	}
	for i, set := range made.required {
		if !set.empty() && set.and(made.alphabet).empty() {
			found.add("class %s is required and alphabet and exclude leave no character of it", p.classes()[i])
		}
	}
	return made
}

// require fills in the required classes, and returns the characters of all.
func (r *recipe) require(classes []Class, found *problems) (all charSet) {
	for i, c := range classes {
		set := c.set()
		switch {
		case set.empty():
			found.add("class %q is unknown, use upper, lower, digit or symbol", string(c))
		case !set.and(all).empty():
			found.add("class %s is required twice", c)
		case i < classCount:
			r.required[i] = set
		}
		all = all.or(set)
	}
	if r.length >= 0 && r.length < len(classes) {
		found.add("length %d is too short for %d required classes", r.length, len(classes))
	}
	return all
}

func (p Policy) validateLengths(found *problems) {
	lo, hi, n := p.minLength(), p.maxLength(), p.length()
	switch {
	case lo < 0 || hi < 0 || n < 0:
		found.add("a length is negative")
	case hi > MaxValueLength:
		found.add("max_length is %d, want at most %d", hi, MaxValueLength)
	case lo > hi:
		found.add("min_length %d is larger than max_length %d", lo, hi)
	case n < lo || n > hi:
		found.add("length %d is not between min_length %d and max_length %d", n, lo, hi)
	}
}

func (p Policy) validateCharacters(found *problems) {
	notASCII := func(r rune) bool { return r < ' ' || r > '~' }
	if i := strings.IndexFunc(p.Alphabet, notASCII); i >= 0 {
		found.add("alphabet has a character at byte %d that is not printable ASCII", i)
	}
	if strings.ContainsFunc(p.Symbols, notASCII) || !charsOf(p.Symbols).and(alphanumeric).empty() {
		found.add("symbols has a character that is no symbol of ASCII")
	}
	if !utf8.ValidString(p.Exclude) {
		found.add("exclude is not UTF-8")
	}
}
