package secret

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Violation is one rule that a value breaks.
type Violation struct {
	// Rule is a constant name: min_length, max_length, upper, lower, digit,
	// symbol, alphabet, exclude, encoding, field.
	Rule string
	// Remedy says what to do. It tells nothing about the value but that it
	// breaks the rule.
	Remedy string
}

// ViolationError is what [Policy.Check] returns: every rule that the value
// breaks, and nothing of the value.
type ViolationError struct{ Violations []Violation }

// Error returns the remedies in one sentence.
func (e *ViolationError) Error() string {
	parts := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		parts[i] = v.Remedy
	}
	return "the value breaks its policy: " + strings.Join(parts, "; ")
}

// Check returns a [*ViolationError] with all rules that v breaks, or nil. What
// it says of a policy that [Policy.Validate] refuses is not specified.
func (p Policy) Check(v Value) error {
	text := v.Reveal()
	if p.Field != "" {
		var err error
		if text, err = fieldOf(text, p.Field); err != nil {
			return violated(Violation{"field", fmt.Sprintf("make it a JSON document with a string at %s", p.Field)})
		}
	}
	return violated(p.violations(text)...)
}

func violated(found ...Violation) error {
	if len(found) == 0 {
		return nil
	}
	return &ViolationError{found}
}

func (p Policy) violations(text []byte) []Violation {
	switch {
	case p.encoding() == EncodingUUID && !p.decodes(text):
		return []Violation{{"encoding", "write it as a UUID"}}
	case p.encoding() == EncodingText && !utf8.Valid(text):
		return []Violation{{"encoding", "use text, not binary data"}}
	case p.encoding() == EncodingText:
		return slices.Concat(p.checkLength(text), p.checkCharacters(text))
	case !p.decodes(text):
		return []Violation{{"encoding", fmt.Sprintf("write it as %s of at least %d bytes", p.encoding(), p.rawBytes())}}
	default:
		return nil
	}
}

func (p Policy) checkLength(text []byte) []Violation {
	n := utf8.RuneCount(text)
	switch {
	case n < p.minLength():
		return []Violation{{"min_length", fmt.Sprintf("too short: at least %d characters are required", p.minLength())}}
	case n > p.maxLength():
		return []Violation{{"max_length", fmt.Sprintf("too long: at most %d characters are allowed", p.maxLength())}}
	case len(text) > MaxValueLength:
		return []Violation{{"max_length", fmt.Sprintf("too long: at most %d bytes are allowed", MaxValueLength)}}
	default:
		return nil
	}
}

func (p Policy) checkCharacters(text []byte) []Violation {
	var out []Violation
	for _, c := range p.classes() {
		if !bytes.ContainsFunc(text, c.has) {
			out = append(out, Violation{string(c), c.remedy()})
		}
	}
	if p.Alphabet != "" && bytes.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(p.Alphabet, r) }) {
		out = append(out, Violation{"alphabet", "use only characters of the policy's alphabet"})
	}
	if bytes.ContainsAny(text, p.Exclude) {
		out = append(out, Violation{"exclude", "use none of the characters that the policy excludes"})
	}
	return out
}
