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
// bytes. It sits behind a pointer so that fmt shows an address, not the bytes,
// when a Value is an unexported field of a printed struct. The zero Value is
// empty. A Value is immutable and safe for concurrent use.
type Value struct{ p *[]byte }

var (
	_ fmt.Formatter          = Value{}
	_ slog.LogValuer         = Value{}
	_ json.Marshaler         = Value{}
	_ encoding.TextMarshaler = Value{}
)

// NewValue returns a Value with a copy of b.
func NewValue(b []byte) Value {
	c := append([]byte(nil), b...)
	return Value{p: &c}
}

// Reveal returns the bytes themselves, not a copy: the caller must not change
// them and must not let them reach a log, an error, an event or a metric.
func (v Value) Reveal() []byte {
	if v.p == nil {
		return nil
	}
	return *v.p
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
