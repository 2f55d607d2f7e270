package secret_test

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/secret"
)

var allClasses = []secret.Class{secret.ClassUpper, secret.ClassLower, secret.ClassDigit, secret.ClassSymbol}

// seeded returns random bytes that are the same in every run.
func seeded(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// constant is a source of randomness that is broken.
type constant byte

func (c constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

// forbidden fails the test when it is read.
type forbidden struct{ t *testing.T }

func (f forbidden) Read([]byte) (int, error) {
	f.t.Error("random bytes are read")
	return 0, io.EOF
}

func value(s string) secret.Value { return secret.NewValue([]byte(s)) }

func date(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func window(t rapid.TB, cron, zone string, d time.Duration) secret.Window {
	t.Helper()
	w, err := secret.ParseWindow(cron, zone, d)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// policies draws policies of every kind that Validate accepts.
func policies() *rapid.Generator[secret.Policy] {
	return rapid.Custom(drawPolicy).Filter(func(p secret.Policy) bool { return p.Validate() == nil })
}

func drawPolicy(t *rapid.T) secret.Policy {
	encodings := []secret.Encoding{"", "", "", secret.EncodingText, secret.EncodingHex, secret.EncodingBase64, secret.EncodingBase64URL, secret.EncodingUUID}
	p := secret.Policy{Encoding: rapid.SampledFrom(encodings).Draw(t, "encoding")}
	switch p.Encoding {
	case "", secret.EncodingText:
		drawText(t, &p)
	case secret.EncodingUUID:
	default:
		p.Bytes = rapid.SampledFrom([]int{0, 8, 9, 10, 31, 64, 1000}).Draw(t, "bytes")
	}
	return p
}

func drawText(t *rapid.T, p *secret.Policy) {
	p.MinLength = rapid.IntRange(0, 40).Draw(t, "min")
	if rapid.Bool().Draw(t, "bounded") {
		p.MaxLength = max(p.MinLength, 16) + rapid.IntRange(0, 40).Draw(t, "more")
	}
	if rapid.Bool().Draw(t, "given") {
		p.Length = max(p.MinLength, 16) + rapid.IntRange(0, 100).Draw(t, "length")
	}
	all := []secret.Class{secret.ClassUpper, secret.ClassLower, secret.ClassDigit, secret.ClassSymbol}
	if rapid.Bool().Draw(t, "own classes") {
		n := rapid.IntRange(0, len(all)).Draw(t, "classes")
		p.Classes = rapid.Permutation(all).Draw(t, "order")[:n]
	}
	printable := rapid.Map(rapid.ByteRange(' ', '~'), func(b byte) rune { return rune(b) })
	switch rapid.IntRange(0, 2).Draw(t, "characters") {
	case 1:
		p.Alphabet = rapid.StringOfN(printable, 2, 60, -1).Draw(t, "alphabet")
	case 2:
		p.Symbols = rapid.StringOfN(rapid.SampledFrom([]rune(punctuation)), 1, 8, -1).Draw(t, "symbols")
	}
	p.Exclude = rapid.StringOfN(printable, 0, 30, -1).Draw(t, "exclude")
}

// punctuation is every symbol of ASCII.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
