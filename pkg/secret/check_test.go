package secret_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/secret"
)

// rules returns the rules that a value breaks.
func rules(t rapid.TB, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var e *secret.ViolationError
	if !errors.As(err, &e) || len(e.Findings) == 0 {
		t.Fatalf("%T %v", err, err)
	}
	var out []string
	for _, v := range e.Findings {
		out = append(out, string(v.Code))
		if v.Remedy == "" || !strings.Contains(err.Error(), v.Remedy) {
			t.Errorf("%s: the remedy %q is not in %q", v.Code, v.Remedy, err)
		}
	}
	return out
}

func TestCheck(t *testing.T) {
	upper, lower := secret.ClassUpper, secret.ClassLower
	hex16, base64of16 := secret.Policy{Encoding: secret.EncodingHex, Bytes: 16}, secret.Policy{Encoding: secret.EncodingBase64, Bytes: 16}
	url16, uuid := secret.Policy{Encoding: secret.EncodingBase64URL, Bytes: 16}, secret.Policy{Encoding: secret.EncodingUUID}
	field := secret.Policy{Field: "/db/password"}
	for name, tt := range map[string]struct {
		policy secret.Policy
		value  string
		want   []string
	}{
		"sixteen characters of four classes comply": {secret.Policy{}, "Abcdefghijklm-12", nil},
		"fifteen do not":                               {secret.Policy{}, "Abcdefghijklm-1", []string{"min_length"}},
		"every broken rule is told":                    {secret.Policy{}, "", []string{"min_length", "upper", "lower", "digit", "symbol"}},
		"three classes are told from the fourth":       {secret.Policy{}, "abcdefghijklmnop", []string{"upper", "digit", "symbol"}},
		"characters are counted, not bytes":            {secret.Policy{}, "Äö1!éàüçñßøåæœı", []string{"min_length"}},
		"letters of any script have a case":            {secret.Policy{}, "Жйцукенгшщзхъ-12", nil},
		"digits of any script are digits":              {secret.Policy{}, "Abcdefghijklm-٣٤", nil},
		"a symbol that is never generated is a symbol": {secret.Policy{Symbols: "-"}, "Abcdefghijklm§12", nil},
		"a space is no symbol":                         {secret.Policy{}, "Abcdefghijkl  12", []string{"symbol"}},
		"a control character is no symbol":             {secret.Policy{}, "Abcdefghijklm\a12", []string{"symbol", "use"}},
		"binary data is no text":                       {secret.Policy{}, "Abcdefghijklm-12\xff", []string{"encoding"}},
		"one character too many":                       {secret.Policy{MinLength: 1, MaxLength: 4, Classes: []secret.Class{}}, "abcde", []string{"max_length"}},
		"characters that fit, bytes that do not":       {secret.Policy{Classes: []secret.Class{}}, strings.Repeat("€", secret.MaxValueLength/3+1), []string{"max_length"}},
		"only the required classes are asked for":      {secret.Policy{Classes: []secret.Class{upper, lower}}, "abcdefghijklmnoP", nil},
		"a character outside the alphabet":             {secret.Policy{Alphabet: "aA1-", Exclude: "-", Classes: []secret.Class{}}, "aaaaaaaaaaaaaaa-b", []string{"alphabet", "exclude"}},
		"an excluded character":                        {secret.Policy{Exclude: "0Oä"}, "Abcdefghijklm-1ä", []string{"exclude"}},
		"hexadecimal digits in either case":            {hex16, "0123456789abcdef0123456789ABCDEF", nil},
		"more bytes than asked for":                    {hex16, "0123456789abcdef0123456789ABCDEF00", nil},
		"a byte too few":                               {hex16, "0123456789abcdef0123456789abcd", []string{"encoding"}},
		"half a byte":                                  {hex16, "0123456789abcdef0123456789abcdef0", []string{"encoding"}},
		"no hexadecimal digit":                         {hex16, "0123456789abcdef0123456789abcdeg", []string{"encoding"}},
		"base64 with its padding":                      {base64of16, "AAECAwQFBgcICQoLDA0ODw==", nil},
		"base64 without it":                            {base64of16, "AAECAwQFBgcICQoLDA0ODw", []string{"encoding"}},
		"base64 with a line break":                     {base64of16, "AAECAwQFBgcI\nCQoLDA0ODw==", []string{"encoding"}},
		"base64 with bits that are not zero":           {base64of16, "AAECAwQFBgcICQoLDA0ODx==", []string{"encoding"}},
		"base64 of too few bytes":                      {base64of16, "AAECAwQFBgcICQoLDA0O", []string{"encoding"}},
		"base64url without padding":                    {url16, "AAECAwQFBgcICQoLDA0ODw", nil},
		"base64url with it":                            {url16, "AAECAwQFBgcICQoLDA0ODw==", []string{"encoding"}},
		"base64url of too few bytes":                   {url16, "AAECAwQFBgcICQoLDA0O", []string{"encoding"}},
		"a UUID":                                       {uuid, "9b2E1c1e-0000-4000-8000-0123456789ab", nil},
		"a UUID with a dash astray":                    {uuid, "9b2e1c1e0-000-4000-8000-0123456789ab", []string{"encoding"}},
		"a UUID with a digit for a dash":               {uuid, "9b2e1c1e00000-4000-8000-0123456789ab", []string{"encoding"}},
		"a UUID with a wrong digit":                    {uuid, "9b2e1c1e-0000-4000-8000-0123456789ag", []string{"encoding"}},
		"a UUID with a digit missing":                  {uuid, "9b2e1c1e-0000-4000-8000-0123456789a", []string{"encoding"}},
		"the field of a document complies":             {field, `{"db": {"user": "u", "password": "Abcdefghijklm-12"}}`, nil},
		"the field does not":                           {field, `{"db": {"password": "Abc"}}`, []string{"min_length", "digit", "symbol"}},
		"an escaped character of a field is one":       {field, `{"db": {"password": "Abcdefghijk1\u002dx"}}`, []string{"min_length"}},
		"the last of two members counts":               {field, `{"db": {"password": "Abc", "password": "Abcdefghijklm-12"}}`, nil},
		"there is no such field":                       {field, `{"db": {}}`, []string{"field"}},
		"the field is a number":                        {field, `{"db": {"password": 1234567890123456}}`, []string{"field"}},
		"the field is null":                            {field, `{"db": {"password": null}}`, []string{"field"}},
		"it is no document":                            {field, `Abcdefghijklm-12`, []string{"field"}},
		"a document goes on after its end":             {field, `{"db": {"password": "Abcdefghijklm-12"}} x`, []string{"field"}},
		"a field with an encoding":                     {secret.Policy{Field: "/k", Encoding: secret.EncodingHex, Bytes: 8}, `{"k": "0123456789abcdef"}`, nil},
		"a field that breaks its encoding":             {secret.Policy{Field: "/k", Encoding: secret.EncodingHex, Bytes: 8}, `{"k": "x"}`, []string{"encoding"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rules(t, tt.policy.Check(value(tt.value))); !slices.Equal(got, tt.want) {
				t.Errorf("broken are %q, want %q", got, tt.want)
			}
		})
	}
}

// What is said of two values that break the same rules is the same: nothing of
// a value is in it, not even its length.
func TestCheckTellsNothingOfTheValue(t *testing.T) {
	said := map[string]string{}
	text := rapid.StringOfN(rapid.SampledFrom([]rune("aZ3-ä\x00")), 0, 40, -1)
	policy := secret.Policy{MinLength: 8, MaxLength: 20, Exclude: "3"}
	rapid.Check(t, func(t *rapid.T) {
		err := policy.Check(value(text.Draw(t, "value")))
		if err == nil {
			return
		}
		key := strings.Join(rules(t, err), " ")
		if before, ok := said[key]; ok && before != err.Error() {
			t.Errorf("said are %q and %q", before, err)
		}
		said[key] = err.Error()
	})
	if len(said) < 10 {
		t.Errorf("only %d combinations of rules are broken", len(said))
	}
}

func TestRemedySaysWhatIsRequired(t *testing.T) {
	err := secret.DefaultPolicy().Check(value("short"))
	for _, want := range []string{"too short: at least 16 characters are required", "add an upper-case letter", "add a digit", "add a symbol"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

func TestAFieldOfAValue(t *testing.T) {
	t.Parallel()
	doc := secret.NewValue([]byte(`{"user":"ada","a/b":["x","y"],"n":1,"secret":"s3cr3t","null":null}`))
	for pointer, want := range map[string]string{"/user": "ada", "/a~1b/1": "y", "/secret": "s3cr3t", "/n": "", "/null": "", "/none": "", "user": "", "": "", "/a~1b": ""} {
		got, err := doc.Field(pointer)
		if string(got.Reveal()) != want || errors.Is(err, secret.ErrNoField) != (want == "") {
			t.Errorf("%q: err %v", pointer, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: the error quotes the document: %v", pointer, err)
		}
	}
	if _, err := secret.NewValue([]byte("\ufeff{\"user\":\"x\"}")).Field("/user"); !errors.Is(err, secret.ErrNoField) || !strings.Contains(err.Error(), "byte order mark") {
		t.Errorf("behind a byte order mark: %v", err)
	}
	if _, err := secret.NewValue([]byte("no document s3cr3t")).Field("/user"); !errors.Is(err, secret.ErrNoField) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("err %v", err)
	}
}
