package secret

import (
	"crypto/subtle"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// MaxValueLength is the largest value, in bytes: the limit of AWS Secrets
// Manager, kept by every store so that a secret can move between them.
const MaxValueLength = 64 << 10

const redacted = "[redacted]"

// Value is the confidential part of a version. However it is printed, logged
// or encoded it shows as [redacted]; [Value.Reveal] is the one way to the
// bytes. The zero Value is empty. A Value is immutable and safe for concurrent
// use. Compare two with [Value.Equal]: == tells whether they are copies of one.
type Value struct {
	// p hides the bytes where fmt does not call the methods below, in an
	// unexported field of what is printed. It shows a pointer to a pointer as an
	// address with every verb, but what one pointer points to with a wrong verb.
	p **[]byte
}

var (
	_ fmt.Formatter          = Value{}
	_ slog.LogValuer         = Value{}
	_ json.Marshaler         = Value{}
	_ encoding.TextMarshaler = Value{}
)

// header is what a Value points to.
type header struct {
	slice *[]byte
	bytes []byte
}

// block is a short value with its header, so that both are one allocation.
type block struct {
	header
	short [96]byte
}

// NewValue returns a Value with a copy of b.
func NewValue(b []byte) Value {
	v := newValue(len(b))
	copy(v.Reveal(), b)
	return v
}

// newValue returns a Value of n zero bytes for the caller to fill.
func newValue(n int) Value {
	if n > len(block{}.short) {
		return hold(make([]byte, n))
	}
	held := &block{}
	return held.hold(held.short[:n])
}

// hold returns a Value of b itself, not of a copy.
func hold(b []byte) Value { return new(header).hold(b) }

func (h *header) hold(b []byte) Value {
	h.bytes = b
	h.slice = &h.bytes
	return Value{p: &h.slice}
}

// cut drops and clears all but the first n bytes of a Value that no caller has
// seen yet.
func (v Value) cut(n int) {
	b := v.Reveal()
	clear(b[n:])
	**v.p = b[:n:n]
}

// Reveal returns the bytes themselves, not a copy: the caller must not change
// them and must not let them reach a log, an error, an event or a metric.
func (v Value) Reveal() []byte {
	if v.p == nil {
		return nil
	}
	return **v.p
}

// Len returns the number of bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// Equal reports in constant time whether two values are the same. Their
// lengths are not protected.
func (v Value) Equal(w Value) bool {
	return subtle.ConstantTimeCompare(v.Reveal(), w.Reveal()) == 1
}

// String returns "[redacted]".
func (Value) String() string { return redacted }

// GoString returns "[redacted]".
func (Value) GoString() string { return redacted }

// Format writes "[redacted]" for every verb and flag.
func (Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue makes slog print "[redacted]".
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON encodes "[redacted]". There is no UnmarshalJSON on purpose: a
// value travels through a store, not through JSON.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText encodes "[redacted]".
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }
