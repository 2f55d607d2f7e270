package secret

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// AdminTokenID is the identifier of the admin bearer token.
const AdminTokenID ID = "TRADEPULSE_ADMIN_TOKEN_ID"

// MaxTokenLength is the longest value of [UseToken], in bytes.
const MaxTokenLength = 8 << 10

// Use says where a value has to fit in. The gate, the generator and the programs
// that use the value share the rule of its use.
type Use string

// The uses.
const (
	// UseText is a password or key in text, the zero value's meaning. It has no
	// space at its ends and no invisible character: programs that read it from a
	// file or a variable disagree about what is part of it.
	UseText Use = "text"
	// UseToken is a bearer token: visible ASCII characters, at most
	// MaxTokenLength, because it is sent in an Authorization header.
	UseToken Use = "token"
)

// ErrUnusable is wrapped by the errors of [Use.Check].
var ErrUnusable = errors.New("the value does not fit its use")

// Check returns an error that wraps [ErrUnusable] if the value cannot be used as u
// says. It names the kind of the character at fault and where it is, and shows
// nothing of the value.
func (u Use) Check(value []byte) error {
	if fault := u.fault(value); fault != "" {
		return fmt.Errorf("%w: %s", ErrUnusable, fault)
	}
	return nil
}

// fault returns what is wrong with text, "" for nothing.
func (u Use) fault(text []byte) string {
	if u == UseToken && (len(text) == 0 || len(text) > MaxTokenLength) {
		return fmt.Sprintf("it has %d bytes, and a token has 1 to %d", len(text), MaxTokenLength)
	}
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		edge := at == 0 || at+n == len(text)
		if kind := u.unfit(r, n, edge); kind != "" {
			return fmt.Sprintf("it has %s at byte %d of %d", kind, at+1, len(text))
		}
		at += n
	}
	return ""
}

// unfit returns the kind of a character of n bytes that u does not allow, "" for
// one that it does. edge is whether the character is the first or the last one.
func (u Use) unfit(r rune, n int, edge bool) string {
	switch {
	case r == utf8.RuneError && n == 1:
		return "a byte that is not UTF-8"
	case r == ' ' && (edge || u == UseToken):
		return "a space"
	case r == '\n', r == '\r':
		return "a line end"
	case r == '\t':
		return "a tab"
	case r == 0xfeff:
		return "a byte order mark"
	case unicode.IsControl(r):
		return "a control character"
	case r != ' ' && unicode.Is(unicode.Z, r):
		return "a space that is not ASCII"
	case unicode.Is(unicode.Cf, r), unicode.Is(blank, r):
		return "an invisible character"
	case u == UseToken && r > unicode.MaxASCII:
		return "a character that is not ASCII"
	default:
		return ""
	}
}

// blank holds the characters that show nothing although Unicode counts them as
// letters, marks or symbols.
var blank = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x034f, Hi: 0x034f, Stride: 1}, {Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x180b, Hi: 0x180f, Stride: 1}, {Lo: 0x2800, Hi: 0x2800, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1}, {Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0xe0100, Hi: 0xe01ef, Stride: 1}},
}

// use returns the use in force.
func (p Policy) use() Use {
	if p.Use == "" {
		return UseText
	}
	return p.Use
}

// validateUse refuses what the use cannot carry.
func (p Policy) validateUse(found *problems) {
	switch p.use() {
	case UseText:
	case UseToken:
		if strings.ContainsRune(p.Alphabet+p.Symbols, ' ') {
			found.add("a token has no space: remove it from alphabet and symbols")
		}
		if n := p.generated(); n > MaxTokenLength {
			found.add("generated values may have %d characters, and a token has at most %d", n, MaxTokenLength)
		}
	default:
		found.add("use %q is unknown, use text or token", p.Use)
	}
}

// generated returns how many characters a generated value may have.
func (p Policy) generated() int {
	switch p.encoding() {
	case EncodingText:
		return p.length()
	case EncodingUUID:
		return uuidLength
	default:
		return 2 * p.rawBytes() // as in hex, the longest
	}
}
