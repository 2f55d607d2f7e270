package secret

import (
	"math/bits"
	"unicode"
	"unicode/utf8"
)

// Class is a kind of character that a policy can require.
type Class string

// The classes.
const (
	ClassUpper  Class = "upper"
	ClassLower  Class = "lower"
	ClassDigit  Class = "digit"
	ClassSymbol Class = "symbol"
)

const classCount = 4

// allClasses is read only.
var allClasses = []Class{ClassUpper, ClassLower, ClassDigit, ClassSymbol}

// The ASCII characters of a class, a bit each, within the half of ASCII that
// they are in. Space and delete are in none.
const (
	digitBits  = 0x03ff << 48                      // 0 to 63
	lowSymbols = 1<<64 - 1<<33 - digitBits         // 0 to 63
	upperBits  = 0x07fffffe                        // 64 to 127
	lowerBits  = 0x07fffffe << 32                  // 64 to 127
	upSymbols  = 1<<63 - 1 - upperBits - lowerBits // 64 to 127
)

// alphanumeric is read only.
var alphanumeric = charSet{digitBits, upperBits | lowerBits}

// has reports whether r is of the class. A symbol is punctuation or a symbol
// of any script, whether or not the generator would use it.
func (c Class) has(r rune) bool {
	switch c {
	case ClassUpper:
		return unicode.IsUpper(r)
	case ClassLower:
		return unicode.IsLower(r)
	case ClassDigit:
		return unicode.IsDigit(r)
	case ClassSymbol:
		return unicode.IsPunct(r) || unicode.IsSymbol(r)
	default:
		return false
	}
}

// set returns the ASCII characters for which has is true.
func (c Class) set() charSet {
	switch c {
	case ClassUpper:
		return charSet{0, upperBits}
	case ClassLower:
		return charSet{0, lowerBits}
	case ClassDigit:
		return charSet{digitBits, 0}
	case ClassSymbol:
		return charSet{lowSymbols, upSymbols}
	default:
		return charSet{}
	}
}

// remedy tells how to add a character of the class.
func (c Class) remedy() string {
	switch c {
	case ClassUpper:
		return "add an upper-case letter"
	case ClassLower:
		return "add a lower-case letter"
	case ClassDigit:
		return "add a digit"
	default:
		return "add a symbol such as ! or -"
	}
}

// charSet is a set of ASCII characters, one bit each.
type charSet [2]uint64

// charsOf returns the ASCII characters of s.
func charsOf[T string | []byte](s T) charSet {
	var low, high uint64
	for i := range len(s) {
		bit, up := uint64(1)<<(s[i]&63), -uint64(s[i]>>6&1)
		if s[i] < utf8.RuneSelf {
			low, high = low|bit&^up, high|bit&up
		}
	}
	return charSet{low, high}
}

func (s charSet) or(t charSet) charSet     { return charSet{s[0] | t[0], s[1] | t[1]} }
func (s charSet) and(t charSet) charSet    { return charSet{s[0] & t[0], s[1] & t[1]} }
func (s charSet) except(t charSet) charSet { return charSet{s[0] &^ t[0], s[1] &^ t[1]} }
func (s charSet) size() int                { return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) }
func (s charSet) empty() bool              { return s == charSet{} }

// bounds returns the first and the last character of a set that has one.
func (s charSet) bounds() (first, last byte) {
	first, last = byte(bits.TrailingZeros64(s[0])), byte(64+bits.Len64(s[1])-1)
	if s[0] == 0 {
		first = byte(64 + bits.TrailingZeros64(s[1]))
	}
	if s[1] == 0 {
		last = byte(bits.Len64(s[0]) - 1)
	}
	return first, last
}

// String returns the characters in ascending order.
func (s charSet) String() string {
	var b []byte
	for c := range byte(utf8.RuneSelf) {
		if s[c>>6]>>(c&63)&1 != 0 {
			b = append(b, c)
		}
	}
	return string(b)
}
