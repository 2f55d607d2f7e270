package secret

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// MaxNote bounds [Spec.Owner], [Spec.Purpose] and [Spec.Contact], in bytes. AWS takes
// tags of that length.
const MaxNote = 256

// ValidNote returns an error unless s can be what a person says of a secret: one line
// of printable text of at most MaxNote bytes. "" says nothing, and is valid.
func ValidNote(s string) error {
	switch {
	case len(s) > MaxNote:
		return fmt.Errorf("it has %d bytes, the most is %d", len(s), MaxNote)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s is not UTF-8", quote(s))
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%s has %q, use one line of printable text", quote(s), r)
		}
	}
	return nil
}

func (s Spec) validateNotes(bad func(format string, args ...any)) {
	for _, n := range []struct{ name, text string }{{"owner", s.Owner}, {"purpose", s.Purpose}, {"contact", s.Contact}} {
		if err := ValidNote(n.text); err != nil {
			bad("%s: %w", n.name, err)
		}
	}
}
