package secret

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// ViolationError is what [Policy.Check] returns: a [Finding] for every rule that
// the value breaks, and nothing of the value. The Code of each is the rule:
// min_length, max_length, upper, lower, digit, symbol, alphabet, exclude,
// encoding, field, shape, use. Its Subject is "": a policy does not know which secret it is
// for.
type ViolationError struct{ Findings []Finding }

// Error returns the remedies in one sentence.
func (e *ViolationError) Error() string {
	parts := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		parts[i] = f.Remedy
	}
	return broken + ": " + strings.Join(parts, "; ")
}

const broken = "the value breaks its policy"

// violation returns the finding for a rule that a value breaks.
func violation(rule, remedy string) Finding {
	return Finding{Code: FindingCode(rule), Severity: SeverityError, Message: broken, Remedy: remedy}
}

// Check returns a [*ViolationError] with all rules that v breaks, or nil. What
// it says of a policy that [Policy.Validate] refuses is not specified.
func (p Policy) Check(v Value) error {
	text := v.Reveal()
	if p.Field != "" {
		var err error
		if text, err = fieldOf(text, p.Field); err != nil {
			return violated(violation("field", fmt.Sprintf("make it a JSON document with a string at %s", p.Field)))
		}
	}
	if shape := p.checkShape(v); shape != nil {
		return violated(append(shape, p.violations(text, false)...)...)
	}
	return violated(p.violations(text, true)...)
}

// checkShape refuses what a rotation would have to refuse, see [Policy.Replaces].
// The encoding rule covers binary data and encoded values.
func (p Policy) checkShape(v Value) []Finding {
	if shape := v.Shape(); p.encoding() == EncodingText && shape != ShapeBinary && p.Replaces(v) != nil {
		f := violation("shape", shape.Remedy())
		f.Message = "the value is " + string(shape) + ", which a rotation would lose"
		return []Finding{f}
	}
	return nil
}

func violated(found ...Finding) error {
	if len(found) == 0 {
		return nil
	}
	return &ViolationError{found}
}

// violations returns what is wrong with the text that the policy is about. use is
// whether the rule of its use counts.
func (p Policy) violations(text []byte, use bool) []Finding {
	switch {
	case p.encoding() == EncodingUUID && !p.decodes(text):
		return []Finding{violation("encoding", "write it as a UUID")}
	case p.encoding() == EncodingText && !utf8.Valid(text):
		return []Finding{violation("encoding", "use text, not binary data")}
	case p.encoding() == EncodingText && use:
		return slices.Concat(p.checkLength(text), p.checkCharacters(text), p.checkUse(text))
	case p.encoding() == EncodingText:
		return slices.Concat(p.checkLength(text), p.checkCharacters(text))
	case !p.decodes(text):
		return []Finding{violation("encoding", fmt.Sprintf("write it as %s of at least %d bytes", p.encoding(), p.rawBytes()))}
	default:
		return nil
	}
}

func (p Policy) checkLength(text []byte) []Finding {
	n := utf8.RuneCount(text)
	switch {
	case n < p.minLength():
		return []Finding{violation("min_length", fmt.Sprintf("too short: at least %d characters are required", p.minLength()))}
	case n > p.maxLength():
		return []Finding{violation("max_length", fmt.Sprintf("too long: at most %d characters are allowed", p.maxLength()))}
	case len(text) > MaxValueLength:
		return []Finding{violation("max_length", fmt.Sprintf("too long: at most %d bytes are allowed", MaxValueLength))}
	default:
		return nil
	}
}

func (p Policy) checkCharacters(text []byte) []Finding {
	var out []Finding
	for _, c := range p.classes() {
		if !bytes.ContainsFunc(text, c.has) {
			out = append(out, violation(string(c), c.remedy()))
		}
	}
	if p.Alphabet != "" && bytes.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(p.Alphabet, r) }) {
		out = append(out, violation("alphabet", "use only characters of the policy's alphabet"))
	}
	if bytes.ContainsAny(text, p.Exclude) {
		out = append(out, violation("exclude", "use none of the characters that the policy excludes"))
	}
	return out
}

// checkUse applies the rule of the use. A value that may be a whole document or
// file may have the line ends of one.
func (p Policy) checkUse(text []byte) []Finding {
	if p.Whole && p.Field == "" && p.use() != UseToken {
		return nil
	}
	fault := p.use().fault(text)
	if fault == "" {
		return nil
	}
	f := violation("use", "write it without that")
	f.Message = fault
	return []Finding{f}
}
