package secret_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/secret"
)

func TestValidPolicies(t *testing.T) {
	for name, p := range map[string]secret.Policy{
		"the zero policy":                      {},
		"the default policy":                   secret.DefaultPolicy(),
		"a PIN":                                {MinLength: 4, Length: 4, Classes: []secret.Class{secret.ClassDigit}},
		"as many characters as classes":        {MinLength: 4, Length: 4},
		"a maximum below the default length":   {MaxLength: 20},
		"no class at all":                      {Classes: []secret.Class{}},
		"two characters":                       {Alphabet: "01", Classes: []secret.Class{secret.ClassDigit}},
		"an alphabet with a space":             {Alphabet: "abc ", Classes: []secret.Class{secret.ClassLower}},
		"an excluded character outside ASCII":  {Exclude: "ä"},
		"all symbols but one excluded":         {Exclude: strings.ReplaceAll(punctuation, "-", "")},
		"the longest value":                    {MinLength: secret.MaxValueLength, MaxLength: secret.MaxValueLength},
		"the most bytes":                       {Encoding: secret.EncodingHex, Bytes: secret.MaxValueLength / 2},
		"an encoding and a least length":       {Encoding: secret.EncodingBase64, MinLength: 16},
		"a field in a document":                {Field: "/database/0/pass~1word~0"},
		"a field without a name":               {Field: "/"},
		"symbols that are not asked for":       {Symbols: "-_", Classes: []secret.Class{secret.ClassDigit}},
		"an alphabet that makes symbols moot":  {Symbols: "-_", Alphabet: "aA1!"},
		"the least likely value":               {MinLength: 3, Length: 3, Alphabet: "aA1 " + punctuation, Classes: allClasses[:3]},
		"a space among the symbols, beside -_": {Symbols: "-_ "},
	} {
		t.Run(name, func(t *testing.T) {
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
			p.Field = ""
			v, err := p.Generate(seeded(1))
			if err != nil || p.Check(v) != nil {
				t.Error(err, p.Check(v))
			}
		})
	}
}

func TestInvalidPolicies(t *testing.T) {
	upper, digit := secret.ClassUpper, secret.ClassDigit
	for name, tt := range map[string]struct {
		policy secret.Policy
		want   []string
	}{
		"everything is excluded": {
			secret.Policy{Alphabet: "abc", Exclude: "cba", Classes: []secret.Class{}},
			[]string{"fewer than two characters"},
		},
		"one character is no choice": {
			secret.Policy{Alphabet: "a", Classes: []secret.Class{}},
			[]string{"fewer than two characters"},
		},
		"a required class is excluded": {
			secret.Policy{Exclude: "0123456789"},
			[]string{"class digit is required"},
		},
		"the alphabet lacks two required classes": {
			secret.Policy{Alphabet: "abcDEF"},
			[]string{"class digit is required", "class symbol is required"},
		},
		"the only symbol is a space": {
			secret.Policy{Symbols: " "},
			[]string{"class symbol is required"},
		},
		"a letter is no symbol": {
			secret.Policy{Symbols: "-a"},
			[]string{"no symbol of ASCII"},
		},
		"the generator writes ASCII": {
			secret.Policy{Alphabet: "abä", Symbols: "§", Classes: []secret.Class{}},
			[]string{"alphabet has a character at byte 2", "no symbol of ASCII"},
		},
		"too short for the classes": {
			secret.Policy{MinLength: 3, Length: 3},
			[]string{"length 3 is too short for 4"},
		},
		"the maximum is below the minimum": {
			secret.Policy{MinLength: 20, MaxLength: 19},
			[]string{"min_length 20 is larger than max_length 19"},
		},
		"the maximum is below the default minimum": {
			secret.Policy{MaxLength: 15},
			[]string{"min_length 16 is larger than max_length 15"},
		},
		"the length is below the minimum": {
			secret.Policy{Length: 15},
			[]string{"length 15 is not between"},
		},
		"the length is above the maximum": {
			secret.Policy{Length: 33, MaxLength: 32},
			[]string{"length 33 is not between"},
		},
		"larger than any store takes": {
			secret.Policy{MaxLength: secret.MaxValueLength + 1},
			[]string{"max_length is 65537"},
		},
		"a length is negative": {
			secret.Policy{MinLength: -1},
			[]string{"negative"},
		},
		"a class is unknown": {
			secret.Policy{Classes: []secret.Class{upper, "greek"}},
			[]string{`class "greek" is unknown`},
		},
		"a class is written twice": {
			secret.Policy{Classes: []secret.Class{digit, upper, digit}},
			[]string{"class digit is required twice"},
		},
		"an encoding is unknown": {
			secret.Policy{Encoding: "rot13"},
			[]string{`encoding "rot13" is unknown`},
		},
		"too few bytes": {
			secret.Policy{Encoding: secret.EncodingHex, Bytes: 7},
			[]string{"bytes is 7, want 8"},
		},
		"too many bytes": {
			secret.Policy{Encoding: secret.EncodingHex, Bytes: secret.MaxValueLength/2 + 1},
			[]string{"bytes is 32769"},
		},
		"bytes are nothing to text": {
			secret.Policy{Bytes: 32},
			[]string{"bytes does not apply"},
		},
		"characters are nothing to an encoding": {
			secret.Policy{Encoding: secret.EncodingUUID, MaxLength: 20, Length: 20, Classes: []secret.Class{}, Alphabet: "ab", Symbols: "-", Exclude: "-", Bytes: 16},
			[]string{"max_length does", "length does", "classes does", "alphabet does", "symbols does", "exclude does", "bytes does"},
		},
		"a field without its slash": {
			secret.Policy{Field: "password"},
			[]string{`field "password" is no JSON Pointer`},
		},
		"a field with a wrong escape": {
			secret.Policy{Field: "/a~2"},
			[]string{"no JSON Pointer"},
		},
		"a field that is not UTF-8": {
			secret.Policy{Field: "/\xff", Exclude: "\xff"},
			[]string{"no JSON Pointer", "exclude is not UTF-8"},
		},
		"every problem at once": {
			secret.Policy{MinLength: 9, MaxLength: 8, Length: 2, Alphabet: "ab", Field: "x"},
			[]string{"no JSON Pointer", "larger than", "class upper", "class digit", "class symbol", "too short for 4"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.policy.Validate()
			found, ok := err.(interface{ Unwrap() []error })
			if !ok || len(found.Unwrap()) != len(tt.want) {
				t.Fatalf("got %v, want %d problems: %q", err, len(tt.want), tt.want)
			}
			for _, one := range found.Unwrap() {
				if !errors.Is(one, secret.ErrInvalidPolicy) {
					t.Errorf("%v is not ErrInvalidPolicy", one)
				}
				if !slices.ContainsFunc(tt.want, func(want string) bool { return strings.Contains(one.Error(), want) }) {
					t.Errorf("%v is not wanted", one)
				}
			}
			if v, err := tt.policy.Generate(forbidden{t}); !errors.Is(err, secret.ErrInvalidPolicy) || v.Len() > 0 {
				t.Errorf("Generate: %v", err)
			}
		})
	}
}

func TestPolicyHashNeverChanges(t *testing.T) {
	// A rotation that one release began is finished by the next.
	for want, p := range map[string]secret.Policy{
		"ea1fb2981b5ca7ec": {},
		"9d50a627ed5bd981": {Length: 64, Classes: []secret.Class{}, Exclude: "O0", Field: "/p"},
		"6657fd04e25a4d17": {Encoding: secret.EncodingHex},
	} {
		if got := p.Hash(); got != want {
			t.Errorf("%+v has the hash %s, want %s", p, got, want)
		}
	}
}

func TestOnePolicyWrittenInTwoWaysHasOneHash(t *testing.T) {
	for name, pair := range map[string][2]secret.Policy{
		"defaults written out": {{}, {MinLength: 16, MaxLength: secret.MaxValueLength, Length: secret.DefaultLength, Encoding: secret.EncodingText, Symbols: secret.DefaultSymbols,
			Classes: []secret.Class{secret.ClassSymbol, secret.ClassDigit, secret.ClassLower, secret.ClassUpper}}},
		"characters in another order":     {{Alphabet: "ab1A!", Exclude: "xy"}, {Alphabet: "!!A1ba", Exclude: "yxx"}},
		"symbols beside an alphabet":      {{Alphabet: "ab1A!"}, {Alphabet: "ab1A!", Symbols: "-"}},
		"the default number of bytes":     {{Encoding: secret.EncodingHex}, {Encoding: secret.EncodingHex, Bytes: 32}},
		"a least length for encoded data": {{Encoding: secret.EncodingHex}, {Encoding: secret.EncodingHex, MinLength: 16}},
	} {
		if pair[0].Hash() != pair[1].Hash() {
			t.Errorf("%s: %s and %s", name, pair[0].Hash(), pair[1].Hash())
		}
	}
}

func TestTwoPoliciesHaveTwoHashes(t *testing.T) {
	seen := map[string]secret.Policy{}
	for _, p := range []secret.Policy{
		{}, {MinLength: 17}, {MaxLength: 40}, {Length: 33}, {Classes: []secret.Class{}}, {Classes: []secret.Class{secret.ClassUpper}},
		{Alphabet: "ab1A!"}, {Alphabet: "ab1A-"}, {Symbols: "-"}, {Symbols: "_"}, {Exclude: "a"}, {Exclude: "ä"}, {Field: "/a"}, {Field: "/b"},
		{Encoding: secret.EncodingHex}, {Encoding: secret.EncodingHex, Bytes: 16}, {Encoding: secret.EncodingBase64},
		{Encoding: secret.EncodingBase64URL}, {Encoding: secret.EncodingUUID}, {Encoding: secret.EncodingUUID, Field: "/a"},
	} {
		if other, ok := seen[p.Hash()]; ok {
			t.Errorf("%+v and %+v have one hash", p, other)
		}
		seen[p.Hash()] = p
	}
}

func TestPolicyTravelsThroughJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies().Draw(t, "policy")
		b, err := json.Marshal(p)
		var back secret.Policy
		if err != nil || json.Unmarshal(b, &back) != nil || !reflect.DeepEqual(p, back) || p.Hash() != back.Hash() {
			t.Errorf("%+v becomes %s and %+v, %v", p, b, back, err)
		}
	})
}
