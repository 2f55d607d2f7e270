package secret

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// maxCandidates bounds how many values are made to find one with every
// required class. The least likely valid policy, four characters of four
// classes with one character in one of them, needs about 400 on average.
const maxCandidates = 100_000

// Generate returns a value that satisfies the policy, uniform over all that do:
// bytes that would favour some characters are thrown away, and so is a whole
// candidate that lacks a class. r is the source of randomness; nil means
// crypto/rand. The error wraps [ErrInvalidPolicy] when the policy cannot be
// satisfied.
//
// With [Policy.Field] set, only the field's own value is returned; use
// [Policy.Next] for the document.
func (p Policy) Generate(r io.Reader) (Value, error) {
	if err := p.Validate(); err != nil {
		return Value{}, err
	}
	if r == nil {
		r = rand.Reader
	}
	if p.encoding() == EncodingText {
		return p.generateText(r)
	}
	return p.generateBytes(r)
}

// Next returns the value after current: a generated one, or with [Policy.Field]
// set the current document with that field replaced.
func (p Policy) Next(r io.Reader, current Value) (Value, error) {
	v, err := p.Generate(r)
	if err != nil || p.Field == "" {
		return v, err
	}
	doc, err := withField(current.Reveal(), p.Field, string(v.Reveal()))
	if err != nil {
		return Value{}, fmt.Errorf("%w: field %s: %w", ErrInvalidPolicy, p.Field, err)
	}
	return Value{p: &doc}, nil
}

func (p Policy) generateBytes(r io.Reader) (Value, error) {
	raw := make([]byte, p.rawBytes())
	if _, err := io.ReadFull(r, raw); err != nil {
		return Value{}, fmt.Errorf("read random bytes: %w", err)
	}
	var out []byte
	switch p.Encoding {
	case EncodingHex:
		out = hex.AppendEncode(nil, raw)
	case EncodingBase64:
		out = base64.StdEncoding.AppendEncode(nil, raw)
	case EncodingBase64URL:
		out = base64.RawURLEncoding.AppendEncode(nil, raw)
	default:
		raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80 // version 4, RFC 9562
		h := hex.AppendEncode(nil, raw)
		for i, from := range []int{0, 8, 12, 16, 20} {
			if i > 0 {
				out = append(out, '-')
			}
			out = append(out, h[from:[]int{8, 12, 16, 20, 32}[i]]...)
		}
	}
	clear(raw)
	return Value{p: &out}, nil
}

func (p Policy) generateText(r io.Reader) (Value, error) {
	g := newGenerator(p)
	out := make([]byte, p.length())
	for range maxCandidates {
		if err := g.fill(out, r); err != nil {
			return Value{}, fmt.Errorf("read random bytes: %w", err)
		}
		if g.complete(out) {
			g.wipe()
			return Value{p: &out}, nil
		}
	}
	return Value{}, fmt.Errorf("%w: %w", ErrInvalidPolicy, errors.New("no candidate had every required class"))
}

// generator turns random bytes into characters of an alphabet.
type generator struct {
	alphabet []byte
	class    [256]uint8 // :: character → bits of the classes it is in
	want     uint8
	limit    int // random bytes from here on would favour the first characters
	pool     [48]byte
	left     int
}

func newGenerator(p Policy) *generator {
	g := &generator{alphabet: p.alphabet()}
	g.limit = 256 - 256%len(g.alphabet)
	for i, c := range p.classes() {
		chars, _ := p.chars(c)
		g.want |= 1 << i
		for j := range len(chars) {
			g.class[chars[j]] |= 1 << i
		}
	}
	return g
}

// fill writes one candidate into out.
func (g *generator) fill(out []byte, r io.Reader) error {
	for i := 0; i < len(out); {
		if g.left == 0 {
			if _, err := io.ReadFull(r, g.pool[:]); err != nil {
				return err
			}
			g.left = len(g.pool)
		}
		g.left--
		if b := int(g.pool[g.left]); b < g.limit {
			out[i] = g.alphabet[b%len(g.alphabet)]
			i++
		}
	}
	return nil
}

// complete reports whether out has a character of every required class.
func (g *generator) complete(out []byte) bool {
	var got uint8
	for _, c := range out {
		got |= g.class[c]
	}
	return got&g.want == g.want
}

func (g *generator) wipe() { clear(g.pool[:]) }
