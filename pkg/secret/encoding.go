package secret

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
)

// Encoding says how a value is written.
type Encoding string

// The encodings. Every one but text writes random bytes, so that length and
// alphabet follow from their number.
const (
	// EncodingText is characters of an alphabet, the zero value's meaning.
	EncodingText Encoding = "text"
	// EncodingHex is lower-case hexadecimal digits.
	EncodingHex Encoding = "hex"
	// EncodingBase64 is RFC 4648 §4, padded.
	EncodingBase64 Encoding = "base64"
	// EncodingBase64URL is RFC 4648 §5, not padded.
	EncodingBase64URL Encoding = "base64url"
	// EncodingUUID is a UUID of version 4, RFC 9562 §5.4.
	EncodingUUID Encoding = "uuid"
)

const (
	uuidBytes  = 16
	uuidLength = 36
)

// uuidDashes are the places in a UUID that are no digits.
var uuidDashes = [...]int{8, 13, 18, 23}

// rawBytes returns how many random bytes are behind an encoded value.
func (p Policy) rawBytes() int {
	if p.Encoding == EncodingUUID {
		return uuidBytes
	}
	return cmp.Or(p.Bytes, DefaultBytes)
}

func (p Policy) generateEncoded(r io.Reader) (Value, error) {
	raw := make([]byte, p.rawBytes())
	defer clear(raw)
	if _, err := io.ReadFull(r, raw); err != nil {
		return Value{}, fmt.Errorf("read random bytes: %w", err)
	}
	return hold(p.Encoding.encode(raw)), nil
}

func (e Encoding) encode(raw []byte) []byte {
	switch e {
	case EncodingHex:
		return hex.AppendEncode(nil, raw)
	case EncodingBase64:
		return base64.StdEncoding.AppendEncode(nil, raw)
	case EncodingBase64URL:
		return base64.RawURLEncoding.AppendEncode(nil, raw)
	default:
		raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
		return appendUUID(nil, raw)
	}
}

// appendUUID appends 16 bytes the way a UUID is written.
func appendUUID(out, raw []byte) []byte {
	from := 0
	for _, to := range []int{4, 6, 8, 10, uuidBytes} {
		if from > 0 {
			out = append(out, '-')
		}
		out = hex.AppendEncode(out, raw[from:to])
		from = to
	}
	return out
}

// decodes reports whether text is encoded canonically and has enough bytes
// behind it.
func (p Policy) decodes(text []byte) bool {
	switch p.Encoding {
	case EncodingHex:
		_, err := hex.AppendDecode(nil, text)
		return err == nil && len(text) >= hex.EncodedLen(p.rawBytes())
	case EncodingBase64:
		return decodesBase64(base64.StdEncoding, text, p.rawBytes())
	case EncodingBase64URL:
		return decodesBase64(base64.RawURLEncoding, text, p.rawBytes())
	default:
		return isUUID(text)
	}
}

// decodesBase64 compares the lengths because the decoder skips line breaks.
func decodesBase64(enc *base64.Encoding, text []byte, least int) bool {
	raw, err := enc.Strict().AppendDecode(nil, text)
	return err == nil && len(raw) >= least && len(text) == enc.EncodedLen(len(raw))
}

func isUUID(text []byte) bool {
	if len(text) != uuidLength {
		return false
	}
	digits := make([]byte, 0, uuidLength)
	from := 0
	for _, dash := range uuidDashes {
		if text[dash] != '-' {
			return false
		}
		digits = append(digits, text[from:dash]...)
		from = dash + 1
	}
	_, err := hex.AppendDecode(nil, append(digits, text[from:]...))
	return err == nil
}
