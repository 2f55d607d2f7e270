package secret_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/secret"
)

func TestEveryGeneratedValueSatisfiesItsPolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies().Draw(t, "policy")
		source := seeded(rapid.Uint64().Draw(t, "seed"))
		for range 20 {
			v, err := p.Generate(source)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Check(v); err != nil {
				t.Fatal(err)
			}
			if n := length(p); v.Len() != n {
				t.Fatalf("%d bytes, want %d", v.Len(), n)
			}
		}
	})
}

// length returns how long a generated value has to be.
func length(p secret.Policy) int {
	n := p.Bytes
	if n == 0 {
		n = 32
	}
	switch p.Encoding { //nolint:exhaustive // the caller has none of text
	case secret.EncodingHex:
		return 2 * n
	case secret.EncodingBase64:
		return (n + 2) / 3 * 4
	case secret.EncodingBase64URL:
		return (n*8 + 5) / 6
	case secret.EncodingUUID:
		return 36
	}
	if p.Length != 0 {
		return p.Length
	}
	n = max(secret.DefaultLength, p.MinLength)
	if p.MaxLength != 0 {
		n = min(n, p.MaxLength)
	}
	return n
}

func TestGeneratedTextIsOfTheAlphabetOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		symbols := rapid.StringOfN(rapid.SampledFrom([]rune(punctuation)), 1, 5, -1).Draw(t, "symbols")
		p := secret.Policy{Symbols: symbols, Exclude: "aZ0"}
		v, err := p.Generate(nil)
		if err != nil {
			t.Fatal(err)
		}
		allowed := "BCDEFGHIJKLMNOPQRSTUVWXYAbcdefghijklmnopqrstuvwxyz123456789" + symbols
		if rest := bytes.Trim(v.Reveal(), allowed); len(rest) > 0 {
			t.Errorf("%d characters are not of the alphabet", len(rest))
		}
	})
}

func TestTwoValuesDiffer(t *testing.T) {
	for _, p := range []secret.Policy{{}, {Encoding: secret.EncodingHex}, {Encoding: secret.EncodingUUID}} {
		seen := map[string]bool{}
		for range 1000 {
			v, err := p.Generate(nil)
			if err != nil {
				t.Fatal(err)
			}
			seen[string(v.Reveal())] = true
		}
		if len(seen) != 1000 {
			t.Errorf("%d of 1000 values are different", len(seen))
		}
	}
}

func TestUUIDIsOfVersion4(t *testing.T) {
	for range 100 {
		v, err := secret.Policy{Encoding: secret.EncodingUUID}.Generate(nil)
		if b := v.Reveal(); err != nil || b[14] != '4' || (b[19] != '8' && b[19] != '9' && b[19] != 'a' && b[19] != 'b') {
			t.Fatal("it is not", err)
		}
	}
}

func TestABrokenSourceIsAnError(t *testing.T) {
	policies := map[string]secret.Policy{"text": {}, "hex": {Encoding: secret.EncodingHex}}
	for name, p := range policies {
		for how, source := range map[string]io.Reader{
			"at its end": bytes.NewReader(nil), "cut short": bytes.NewReader(make([]byte, 20)), "failing": iotest.ErrReader(io.ErrClosedPipe),
		} {
			t.Run(name+" from a source "+how, func(t *testing.T) {
				v, err := p.Generate(source)
				if err == nil || errors.Is(err, secret.ErrInvalidPolicy) || v.Len() > 0 {
					t.Errorf("%d bytes, %v", v.Len(), err)
				}
			})
		}
	}
	for _, b := range []constant{'A', 0xff} {
		if v, err := secret.DefaultPolicy().Generate(b); err == nil || errors.Is(err, secret.ErrInvalidPolicy) || v.Len() > 0 {
			t.Errorf("a source of %#x for ever: %d bytes, %v", byte(b), v.Len(), err)
		}
	}
}

func TestGenerateAllocatesTheValueOnly(t *testing.T) {
	for name, p := range map[string]secret.Policy{"default": {}, "letters and digits": {Classes: []secret.Class{}}} {
		if n := testing.AllocsPerRun(200, func() { _, _ = p.Generate(nil) }); n != 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestSpareBytesAreCleared(t *testing.T) {
	v, err := secret.DefaultPolicy().Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if b := v.Reveal(); cap(b) != len(b) {
		t.Errorf("%d bytes can be seen past the value", cap(b)-len(b))
	}
}

func TestNextReplacesTheFieldOnly(t *testing.T) {
	for name, tt := range map[string]struct{ field, before, after string }{
		"a member":                   {"/password", "{\"user\":\"u\", \"password\" : \"old\" ,\n\t\"port\": 5432.0}", "{\"user\":\"u\", \"password\" : \"NEW\" ,\n\t\"port\": 5432.0}"},
		"a nested member":            {"/db/0/pass", `{"db":[ {"a":1,"pass":"old"}, {"pass":"old"}]}`, `{"db":[ {"a":1,"pass":"NEW"}, {"pass":"old"}]}`},
		"a name with escapes":        {"/a~1b~0c/", `{"a/b~c":{"":"old"}}`, `{"a/b~c":{"":"NEW"}}`},
		"a name that is written out": {"/pässword", `{"p\u00e4ssword":"old"}`, `{"p\u00e4ssword":"NEW"}`},
		"a null":                     {"/password", `{"password":null}`, `{"password":"NEW"}`},
		"a value with a quote":       {"/password", `{"password":"o\"}l\\d","x":1}`, `{"password":"NEW","x":1}`},
		"the last of two":            {"/p", `{"p":"a","p":"b"}`, `{"p":"a","p":"NEW"}`},
		"an element":                 {"/1", ` ["a" , "old" ] `, ` ["a" , "NEW" ] `},
		"a name of digits":           {"/1", `{"1":"old"}`, `{"1":"NEW"}`},
		"numbers stay as they are":   {"/p", `{"n":1e400,"big":12345678901234567890,"p":"old","z":-0}`, `{"n":1e400,"big":12345678901234567890,"p":"NEW","z":-0}`},
	} {
		t.Run(name, func(t *testing.T) {
			p := secret.Policy{Field: tt.field, Length: 16, MinLength: 4, Alphabet: "aA1-"}
			before, _, _ := bytes.Cut([]byte(tt.after), []byte("NEW"))
			v, err := p.Next(nil, value(tt.before))
			if err != nil {
				t.Fatal(err)
			}
			got := v.Reveal()
			if err := p.Check(v); err != nil {
				t.Error(err)
			}
			got = bytes.Replace(got, got[len(before):len(before)+16], []byte("NEW"), 1)
			if string(got) != tt.after {
				t.Errorf("got %s, want %s", got, tt.after)
			}
		})
	}
}

func TestNextWritesAnyValueIntoAnyDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies().Draw(t, "policy")
		p.Field = rapid.SampledFrom([]string{"/a", "/b/c", "/d/2"}).Draw(t, "field")
		doc := value(`{ "a":"1", "b" : {"c": "2", "a":"<&>"},"d":["",{}, "3"] }`)
		v, err := p.Next(seeded(rapid.Uint64().Draw(t, "seed")), doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(v); err != nil {
			t.Error(err)
		}
	})
}

func TestNextRefusesWhatHasNoField(t *testing.T) {
	long := `{"p":"old","rest":"` + string(bytes.Repeat([]byte("x"), secret.MaxValueLength-30)) + `"}`
	for name, doc := range map[string]string{
		"nothing": "", "text": "hunter2", "another member": `{"q":"hunter2"}`, "a number": `{"p":1}`, "an object": `{"p":{"hunter2":1}}`,
		"a list": `["hunter2"]`, "a string": `"hunter2"`, "half a document": `{"p":"hunter2"`, "a full document": long,
	} {
		t.Run(name, func(t *testing.T) {
			v, err := secret.Policy{Field: "/p"}.Next(nil, value(doc))
			if !errors.Is(err, secret.ErrInvalidPolicy) || v.Len() > 0 || strings.Contains(err.Error(), "hunter2") {
				t.Error(v.Len(), err)
			}
			if tooLong := name == "a full document"; errors.Is(err, secret.ErrNoField) == tooLong {
				t.Error(err)
			}
		})
	}
	for name, field := range map[string]string{"a leading zero": "/p/00", "the end of a list": "/p/-", "past the end": "/p/1", "below a string": "/p/0/x"} {
		if _, err := (secret.Policy{Field: field}).Next(nil, value(`{"p":["a"]}`)); !errors.Is(err, secret.ErrNoField) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNextWithoutFieldIsGenerate(t *testing.T) {
	next, err := secret.DefaultPolicy().Next(seeded(7), value("old"))
	generated, _ := secret.DefaultPolicy().Generate(seeded(7))
	if err != nil || !next.Equal(generated) {
		t.Error("they differ", err)
	}
}
