package secret

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// scrubPiece is how many bytes in a row of a value, in any of its forms, count as
// a piece of it. A shorter piece, which a text that was cut off may end with, is
// not recognised: it would be found in any text.
const scrubPiece = 6

// leastScrubbed is the length of the shortest value that is looked for, in bytes.
const leastScrubbed = 4

// maxScrubbed bounds the text that is searched, in bytes. The rest of a longer one
// is dropped.
const maxScrubbed = 64 << 10

// Scrub returns err, or an error in its place if its text holds a piece of a
// value, as it does if a server quotes the request: see [ScrubText]. That error
// has the text without the pieces. It matches what err matches under [errors.Is],
// and does not unwrap, so that nothing that holds the value can be reached.
func Scrub(err error, values ...Value) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if all := text + "\x00" + printed(err); ScrubText(all, values...) == all {
		return err
	}
	return scrubbedError{ScrubText(text, values...), func(target error) bool { return errors.Is(err, target) }}
}

// printed returns err and all that it wraps, in every way that they are printed.
func printed(err error) string {
	var b strings.Builder
	printTree(&b, err)
	return b.String()
}

func printTree(b *strings.Builder, err error) {
	if err == nil {
		return
	}
	fmt.Fprintf(b, "%+v\x00%#v\x00", err, err)
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case interface{ Unwrap() error }:
		printTree(b, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			printTree(b, inner)
		}
	}
}

// scrubbedError is an error without what its text quoted.
type scrubbedError struct {
	text string
	is   func(target error) bool
}

func (e scrubbedError) Error() string        { return e.text }
func (e scrubbedError) Is(target error) bool { return e.is(target) }

// ScrubText returns the text with [redacted] in place of each piece of a value: six
// or more of its bytes in a row, as they are or escaped for JSON, Go, HTML or a URL,
// in hexadecimal or in base64. Of a value that is a JSON document each string and
// number counts as a value too, however the document is written. If a value is
// shorter than a piece and the text holds it, nothing of the text is returned. A
// value of fewer than four bytes is in any text, and not looked for.
func ScrubText(text string, values ...Value) string {
	s := newScrubber(text)
	for _, v := range values {
		s.value(v.Reveal())
	}
	return s.String()
}

// scrubber marks the pieces of values in one text.
type scrubber struct {
	text  string
	at    places
	drop  []bool // by byte of the text
	found bool
	all   bool
}

func newScrubber(text string) *scrubber {
	if len(text) > maxScrubbed {
		text = strings.ToValidUTF8(text[:maxScrubbed], "") + "…"
	}
	return &scrubber{text: text}
}

// value marks the pieces of a value and of the strings in it.
func (s *scrubber) value(v []byte) {
	if len(v) < leastScrubbed {
		return
	}
	if len(v) < scrubPiece {
		s.all = s.all || strings.Contains(s.text, string(v))
	}
	for _, form := range escaped(v) {
		s.mark(form)
	}
	for _, leaf := range leaves(v) {
		if len(leaf) < scrubPiece {
			continue // it would be in any text; as a part of the document it is found
		}
		for _, form := range escaped([]byte(leaf)) {
			s.mark(form)
		}
	}
}

// mark marks the pieces of one form of a value.
func (s *scrubber) mark(form string) {
	if s.drop == nil {
		s.at, s.drop = placesIn(s.text), make([]bool, len(s.text))
	}
	for _, g := range grams(form) {
		for at := range s.at.take(g) {
			s.found = true
			for j := range scrubPiece {
				s.drop[at+j] = true
			}
		}
	}
}

// String returns the text without what is marked. A gap between two pieces that is
// shorter than a piece goes with them: there the value is written in another form.
func (s *scrubber) String() string {
	if s.all {
		return redacted
	}
	if !s.found {
		return s.text
	}
	var b strings.Builder
	for i := 0; i < len(s.text); {
		if !s.drop[i] {
			_, n := utf8.DecodeRuneInString(s.text[i:])
			b.WriteString(s.text[i : i+n])
			i += n
			continue
		}
		i = s.end(i)
		b.WriteString(redacted)
	}
	return b.String()
}

// end returns where the marked bytes from i end.
func (s *scrubber) end(i int) int {
	last := i
	for j := i; j < len(s.drop) && j-last <= scrubPiece; j++ {
		if s.drop[j] {
			last = j
		}
	}
	last++
	for last < len(s.text) && !utf8.RuneStart(s.text[last]) {
		last++
	}
	return last
}

// leaves returns the strings and numbers of a JSON document, and nothing for a
// value that is none.
func leaves(v []byte) []string {
	dec := json.NewDecoder(strings.NewReader(string(v)))
	dec.UseNumber()
	var doc any
	if len(v) == 0 || v[0] != '{' && v[0] != '[' || dec.Decode(&doc) != nil {
		return nil
	}
	return leavesOf(doc, nil)
}

func leavesOf(node any, out []string) []string {
	switch node := node.(type) {
	case string:
		return append(out, node)
	case json.Number:
		return append(out, node.String())
	case []any:
		for _, child := range node {
			out = leavesOf(child, out)
		}
	case map[string]any:
		for _, child := range node {
			out = leavesOf(child, out)
		}
	}
	return out
}

// Redact returns what a credential in a plain string prints as: [redacted], or
// nothing if there is none.
func Redact(credential string) string {
	if credential == "" {
		return ""
	}
	return redacted
}
