package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// ErrShape is wrapped by the error of [Policy.Replaces] about a value that is more
// than one password or key.
var ErrShape = errors.New("the rotation would change the shape of the value")

// Shape says what a value consists of.
type Shape string

// The shapes. All but ShapeText hold more than a generated value can replace.
const (
	// ShapeText is one piece of text, such as a password.
	ShapeText Shape = "text"
	// ShapeDocument is a JSON object or array.
	ShapeDocument Shape = "a JSON document"
	// ShapeURL is a URL or another connection string.
	ShapeURL Shape = "a connection string"
	// ShapeLines is text of several lines, such as a PEM file or settings.
	ShapeLines Shape = "text of several lines"
	// ShapeBinary is not UTF-8.
	ShapeBinary Shape = "binary data"
)

// byteOrderMark may be before a document.
const byteOrderMark = "\ufeff"

var (
	// urlStart matches the beginning of a URL with an authority, also behind jdbc:.
	urlStart = regexp.MustCompile(`^(?i:[a-z][a-z0-9+.-]*:)+//`)
	// settings matches two settings on one line, as in host=db user=app and in
	// Server=db;User Id=app;.
	settings = regexp.MustCompile(`^(?i:[a-z][a-z0-9_ ]*=[^;]*;\s*[a-z][a-z0-9_ ]*=|[a-z][a-z0-9_]* *= *\S+\s+[a-z][a-z0-9_]* *=)`)
)

// Shape returns what the value consists of. A line break at its end does not
// count.
func (v Value) Shape() Shape {
	raw := v.Reveal()
	text := bytes.TrimSpace(bytes.TrimPrefix(raw, []byte(byteOrderMark)))
	switch {
	case isDocument(text):
		return ShapeDocument
	case !utf8.Valid(raw):
		return ShapeBinary
	case bytes.ContainsAny(text, "\n\r"):
		return ShapeLines
	case urlStart.Match(text), settings.Match(text):
		return ShapeURL
	default:
		return ShapeText
	}
}

func isDocument(text []byte) bool {
	return len(text) > 0 && (text[0] == '{' || text[0] == '[') && json.Valid(text)
}

// Replaces returns an error that wraps [ErrShape] and [ErrInvalidPolicy] if the
// policy makes values that would replace more of current than a password or key:
// see [Policy.Whole].
func (p Policy) Replaces(current Value) error {
	if p.Field != "" || p.Whole || current.Shape() == ShapeText {
		return nil
	}
	return fmt.Errorf("%w: %w: the current value is %s; %s", ErrInvalidPolicy, ErrShape, current.Shape(), current.Shape().Remedy())
}

// Remedy returns what to set in the policy of a value of another shape than
// ShapeText.
func (s Shape) Remedy() string {
	if s == ShapeDocument {
		return "set field in its policy to what is rotated, such as /password, or whole: true to replace all of it"
	}
	return "set whole: true in its policy to replace all of it, or rotate it by hand"
}
