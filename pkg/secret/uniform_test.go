//go:build !race

package secret_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

// These tests compare generated values with the exact distribution by
// chi-square tests. Their seeds are fixed, so a test that passes passes always;
// for other seeds the chance of a false alarm is below 1e-9 for one statistic
// and below 1e-6 for all of them together, which are fewer than 1,000.

// critical returns what a chi-square statistic of k degrees of freedom exceeds
// with a probability of about 1e-9 (z = 6), after Wilson and Hilferty.
func critical(k int) float64 {
	f := 2 / (9 * float64(k))
	return float64(k) * math.Pow(1-f+6*math.Sqrt(f), 3)
}

// compare tests counts against the probabilities p.
func compare(t *testing.T, what string, counts []int, p []float64) {
	t.Helper()
	n, chi := 0, 0.0
	for _, c := range counts {
		n += c
	}
	for i, c := range counts {
		want := p[i] * float64(n)
		chi += (float64(c) - want) * (float64(c) - want) / want
	}
	if limit := critical(len(counts) - 1); chi > limit {
		t.Errorf("%s: chi-square %.1f of %d degrees of freedom, want at most %.1f", what, chi, len(counts)-1, limit)
	}
}

// classOf returns which of the four classes an ASCII character is in.
func classOf(c byte) int {
	switch {
	case 'A' <= c && c <= 'Z':
		return 0
	case 'a' <= c && c <= 'z':
		return 1
	case '0' <= c && c <= '9':
		return 2
	case c == ' ':
		return -1
	default:
		return 3
	}
}

// compliant returns which part of all strings of n characters has all of the
// classes in the set of bits, by inclusion and exclusion. part is how much of
// the alphabet each class is.
func compliant(n int, classes uint, part [4]float64) float64 {
	total := 0.0
	for without := range uint(16) {
		if without&^classes != 0 {
			continue
		}
		rest, sign := 1.0, 1.0
		for i := range part {
			if without&(1<<i) != 0 {
				rest, sign = rest-part[i], -sign
			}
		}
		total += sign * math.Pow(rest, float64(n))
	}
	return total
}

// expected returns how probable each character is, at any place.
func expected(alphabet string, n int, classes uint) []float64 {
	var part [4]float64
	for _, c := range []byte(alphabet) {
		if k := classOf(c); k >= 0 {
			part[k] += 1 / float64(len(alphabet))
		}
	}
	p := make([]float64, len(alphabet))
	for i := range p {
		need := classes
		if k := classOf(alphabet[i]); k >= 0 {
			need &^= 1 << k
		}
		p[i] = compliant(n-1, need, part) / compliant(n, classes, part) / float64(len(alphabet))
	}
	return p
}

// uniform tests the characters of count values, at each place and at all.
func uniform(t *testing.T, p secret.Policy, alphabet string, classes uint, seed uint64, count int) {
	t.Helper()
	n := p.Length
	at := make([][]int, n)
	for i := range at {
		at[i] = make([]int, len(alphabet))
	}
	all, source := make([]int, len(alphabet)), seeded(seed)
	for range count {
		v, err := p.Generate(source)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range v.Reveal() {
			k := strings.IndexByte(alphabet, c)
			if k < 0 {
				t.Fatal("a character is not of the alphabet")
			}
			at[i][k]++
			all[k]++
		}
	}
	want := expected(alphabet, n, classes)
	for i := range at {
		compare(t, fmt.Sprint("place ", i), at[i], want)
	}
	// The required classes tie the places of one value together, but only so
	// that the number of characters of a class varies less.
	compare(t, "all places", all, want)
}

const (
	upperCase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lowerCase = "abcdefghijklmnopqrstuvwxyz"
	digits    = "0123456789"
)

func TestCharactersAreUniform(t *testing.T) {
	for name, tt := range map[string]struct {
		policy   secret.Policy
		alphabet string
		classes  uint
	}{
		"default":            {secret.Policy{Length: 32}, upperCase + lowerCase + digits + secret.DefaultSymbols, 15},
		"PIN":                {secret.Policy{MinLength: 6, Length: 6, Classes: allClasses[2:3]}, digits, 4},
		"letters and digits": {secret.Policy{Length: 20, Classes: allClasses[:3]}, upperCase + lowerCase + digits, 7},
		"no class":           {secret.Policy{Length: 20, Classes: []secret.Class{}}, upperCase + lowerCase + digits, 0},
		"two characters":     {secret.Policy{Length: 16, Alphabet: "a~", Classes: []secret.Class{}}, "a~", 0},
		"33 characters":      {secret.Policy{Length: 16, Alphabet: upperCase + "1234567", Classes: []secret.Class{}}, upperCase + "1234567", 0},
		"few symbols":        {secret.Policy{Length: 16, Symbols: "-_"}, upperCase + lowerCase + digits + "-_", 15},
		"a tight fit":        {secret.Policy{MinLength: 4, Length: 4}, upperCase + lowerCase + digits + secret.DefaultSymbols, 15},
		"excluded":           {secret.Policy{Length: 16, Exclude: "0OIl1" + punctuation[1:]}, "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789!", 15},
	} {
		t.Run(name, func(t *testing.T) { uniform(t, tt.policy, tt.alphabet, tt.classes, 1, 20_000) })
	}
}

func TestCharactersOfRandomPoliciesAreUniform(t *testing.T) {
	r := rand.New(seeded(2))
	printable := make([]byte, 0, 94) // without the space, which is at no end of a value
	for c := byte('!'); c <= '~'; c++ {
		printable = append(printable, c)
	}
	for i := range 40 {
		r.Shuffle(len(printable), func(i, j int) { printable[i], printable[j] = printable[j], printable[i] })
		alphabet := string(printable[:2+r.IntN(93)])
		p := secret.Policy{MinLength: 1, Length: 4 + r.IntN(8), Alphabet: alphabet, Classes: []secret.Class{}}
		var classes uint
		for k, c := range allClasses {
			has := strings.ContainsFunc(alphabet, func(r rune) bool { return classOf(byte(r)) == k })
			if has && r.IntN(2) == 0 {
				p.Classes, classes = append(p.Classes, c), classes|1<<k
			}
		}
		t.Run(fmt.Sprintf("%d: %d characters, %d long, classes %04b", i, len(alphabet), p.Length, classes), func(t *testing.T) {
			uniform(t, p, alphabet, classes, uint64(100+i), 10_000)
		})
	}
}

// Here every compliant string is counted, so that nothing about how the places
// of a value depend on each other can be wrong either.
func TestStringsAreUniform(t *testing.T) {
	p := secret.Policy{MinLength: 4, Length: 4, Alphabet: "aAbBx12", Classes: allClasses[:3]}
	counts := map[string]int{}
	all := []string{""}
	for range 4 {
		var longer []string
		for _, s := range all {
			for _, c := range p.Alphabet {
				longer = append(longer, s+string(c))
			}
		}
		all = longer
	}
	for _, s := range all {
		if strings.ContainsAny(s, "AB") && strings.ContainsAny(s, "abx") && strings.ContainsAny(s, "12") {
			counts[s] = 0
		}
	}
	source := seeded(3)
	for range 100 * len(counts) {
		v, err := p.Generate(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := counts[string(v.Reveal())]; !ok {
			t.Fatal("a value is not compliant")
		}
		counts[string(v.Reveal())]++
	}
	var got []int
	var want []float64
	for _, n := range counts {
		got, want = append(got, n), append(want, 1/float64(len(counts)))
	}
	compare(t, fmt.Sprint(len(counts), " strings"), got, want)
}

func TestBytesAreUniform(t *testing.T) {
	for _, e := range []secret.Encoding{secret.EncodingHex, secret.EncodingBase64URL} {
		alphabet := "0123456789abcdef"
		if e == secret.EncodingBase64URL {
			alphabet = upperCase + lowerCase + digits + "-_"
		}
		counts, want, source := make([]int, len(alphabet)), make([]float64, len(alphabet)), seeded(4)
		for range 20_000 {
			v, err := secret.Policy{Encoding: e, Bytes: 33}.Generate(source)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range v.Reveal() {
				counts[strings.IndexByte(alphabet, c)]++
			}
		}
		for i := range want {
			want[i] = 1 / float64(len(alphabet))
		}
		compare(t, string(e), counts, want)
	}
}
