package secret

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// maxReads bounds how often random bytes are read for one value. The least
// likely valid policy, 3 characters of 36 where each of 3 required classes has
// but one, needs about 10,000 reads on average: a sound source fails it less
// often than once in 10^16 values.
const maxReads = 400_000

// errNoCandidate is what a source of randomness ends in that is not random.
var errNoCandidate = errors.New("the source of randomness gave no value with every required class")

// Generate returns a value that satisfies the policy, uniform over all that do:
// random bytes that stand for no character are thrown away, and so is a whole
// candidate that lacks a class or has a space at an end. r is the source of randomness; nil means
// crypto/rand. The error wraps [ErrInvalidPolicy] when the policy cannot be
// satisfied, in which case r is not read, else the error of r.
//
// With [Policy.Field] set, only the field's own value is returned; use
// [Policy.Next] for the document.
func (p Policy) Generate(r io.Reader) (Value, error) {
	made, err := p.compile()
	if err != nil {
		return Value{}, fmt.Errorf("generate value: %w", err)
	}
	if r == nil {
		r = rand.Reader
	}
	var v Value
	if p.encoding() == EncodingText {
		v, err = p.generateText(&made, r)
	} else {
		v, err = p.generateEncoded(r)
	}
	if err != nil {
		return Value{}, fmt.Errorf("generate value: %w", err)
	}
	return v, nil
}

// Next returns the value after current: a generated one, or with [Policy.Field]
// set the current document with that field replaced. The error is that of
// [Policy.Replaces] when a generated value would lose a part of current. With a
// field it wraps [ErrNoField] and [ErrInvalidPolicy] when current is no JSON
// document with a string or null at the field; Next adds no field to a document.
func (p Policy) Next(r io.Reader, current Value) (Value, error) {
	if err := p.Replaces(current); err != nil {
		return Value{}, err
	}
	v, err := p.Generate(r)
	if err != nil || p.Field == "" {
		return v, err
	}
	doc, err := withField(current.Reveal(), p.Field, v.Reveal())
	clear(v.Reveal())
	if err != nil {
		return Value{}, fmt.Errorf("%w: field %s: %w", ErrInvalidPolicy, p.Field, err)
	}
	return hold(doc), nil
}

// maxDraws bounds how often a text is drawn anew.
const maxDraws = 64

// generateText draws until the text has no shape that [Policy.Check] refuses: an alphabet
// with "=" and a space makes a connection string now and then.
func (p Policy) generateText(made *recipe, r io.Reader) (Value, error) {
	plain := p.Field != "" || made.alphabet.and(charsOf("=:{[")).empty() // every shape needs one of these
	for range maxDraws {
		v, err := made.generate(r)
		if err != nil || plain || p.checkShape(v) == nil {
			return v, err
		}
		clear(v.Reveal())
	}
	return Value{}, fmt.Errorf("%w: alphabet: nearly every text of it looks like a document or a connection string: take characters away", ErrInvalidPolicy)
}

// generate reads random bytes into the value's own memory and turns them into
// characters in place.
func (r *recipe) generate(source io.Reader) (Value, error) {
	s, n := newSampler(r.alphabet), r.length
	v := newValue(s.bytesFor(n))
	buf, have := v.Reveal(), 0
	for range maxReads {
		if _, err := io.ReadFull(source, buf[have:]); err != nil {
			clear(buf)
			return Value{}, fmt.Errorf("read random bytes: %w", err)
		}
		have += s.sample(buf[have:])
		switch {
		case have < n:
		case r.complete(buf[:n]) && buf[0] != ' ' && buf[n-1] != ' ':
			v.cut(n)
			return v, nil
		default:
			have = 0
		}
	}
	return Value{}, errNoCandidate
}

// complete reports whether text has a character of every required class.
func (r *recipe) complete(text []byte) bool {
	seen := charsOf(text)
	for _, class := range r.required {
		if seen.and(class).empty() && !class.empty() {
			return false
		}
	}
	return true
}

// sampler turns random bytes into uniform characters of an alphabet.
type sampler struct {
	alphabet charSet
	first    byte // character of the alphabet
	mask     byte // 2^k-1, at least the last character less the first
}

func newSampler(alphabet charSet) sampler {
	first, last := alphabet.bounds()
	return sampler{alphabet, first, 1<<bits.Len8(last-first) - 1}
}

// bytesFor returns a number of random bytes, not less than n, that mostly gives
// n characters in one go, unless the alphabet is thinly spread.
func (s *sampler) bytesFor(n int) int {
	return min(n*(int(s.mask)+1)/s.alphabet.size()+n/8+4, 3*n/2+32)
}

// sample replaces random bytes by characters, from the start of buf on, and
// returns how many there are. Every character is as likely as every other: a
// byte that stands for none is overwritten by the next, not folded onto one.
// A sum beyond ASCII counts as 128 less, which is below the first character.
// There is no branch on a random bit, which would cost more than the bytes do.
func (s *sampler) sample(buf []byte) int {
	have := 0
	for _, b := range buf {
		c := s.first + b&s.mask
		buf[have] = c
		have += int(s.alphabet[c>>6&1] >> (c & 63) & 1)
	}
	return have
}
