package secret_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

// bird is a value that every way of quoting changes.
const bird = `Canary/9f31c7"Zq+Väl€🔑 &<b>\x%41!`

func TestScrubTextRemovesEveryForm(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(map[string]string{"value": bird})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := json.Marshal("blocked: " + string(body))
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"v": {bird}}.Encode()
	for name, quoted := range map[string]string{
		"raw":                        bird,
		"in JSON":                    string(body),
		"in JSON in JSON":            string(answer),
		"in JSON of ASCII only":      `{"value": "` + strings.Trim(strconv.QuoteToASCII(bird), `"`) + `"}`,
		"quoted by Go":               fmt.Sprintf("%q", bird),
		"in a query":                 form,
		"in a query in lower case":   strings.ToLower(url.QueryEscape("/\"+")) + url.QueryEscape(bird)[8:],
		"in a path":                  "/v1/" + url.PathEscape(bird),
		"in base64":                  base64.StdEncoding.EncodeToString([]byte(bird)),
		"in base64 for URLs":         base64.URLEncoding.EncodeToString([]byte(bird)),
		"in base64 without padding":  base64.RawStdEncoding.EncodeToString([]byte(bird)),
		"in base64 of a login":       base64.StdEncoding.EncodeToString([]byte("app:" + bird)),
		"in base64 of a body":        base64.StdEncoding.EncodeToString(body),
		"in hexadecimal":             hex.EncodeToString([]byte(bird)),
		"cut off behind its half":    bird[:17],
		"cut off before its half":    bird[13:],
		"a piece of its middle":      bird[3:15],
		"base64, cut off":            base64.StdEncoding.EncodeToString([]byte(bird))[:12],
		"several times":              bird + " and " + string(body),
		"beyond what is looked at":   strings.Repeat("x", 64<<10) + bird,
		"with a break in the middle": bird[:8] + "\\\n" + bird[8:],
	} {
		text := "status 400: " + quoted + " (end)"
		got := secret.ScrubText(text, secret.NewValue([]byte(bird)))
		for _, piece := range pieces(bird) {
			if strings.Contains(got, piece) {
				t.Errorf("%s: the text still holds a piece of the value", name)
			}
		}
		if !strings.HasPrefix(got, "status 400: ") || len(text) < 1000 && !strings.HasSuffix(got, " (end)") {
			t.Errorf("%s: the rest of the text is gone", name)
		}
	}
}

// pieces returns the plain part of the bird, and what it is in base64 and
// hexadecimal, in parts of six bytes.
func pieces(value string) (out []string) {
	forms := []string{value, hex.EncodeToString([]byte(value))}
	for n := range 3 {
		forms = append(forms, base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", n) + value))[4:40])
	}
	for _, form := range forms {
		for i := 0; i+6 <= len(form); i++ {
			out = append(out, form[i:i+6])
		}
	}
	return out
}

func TestScrubTextKnowsTheFieldsOfADocument(t *testing.T) {
	t.Parallel()
	v := secret.NewValue([]byte(`{"user":"app","password":"Corr<ct-Horse","port":5432,"pin":98765432,"more":["Battery-Staple"]}`))
	for _, text := range []string{
		`{ "password" : "Corr<ct-Horse" }`, `password=Corr%3Cct-Horse`, `pin: 98765432`, `[Battery-Staple]`, `"pin":98765432`,
	} {
		if got := secret.ScrubText(text, v); strings.Contains(got, "ct-Horse") || strings.Contains(got, "98765432") || strings.Contains(got, "Staple") {
			t.Errorf("it still holds a field: %d bytes of %d", len(got), len(text))
		}
	}
	if text := "app cannot reach port 5432"; secret.ScrubText(text, v) != text {
		t.Error("short fields make an error unreadable")
	}
}

func TestScrubTextOfShortValues(t *testing.T) {
	t.Parallel()
	if got := secret.ScrubText("the PIN 4711 is refused", secret.NewValue([]byte("4711"))); got != "[redacted]" {
		t.Errorf("a short value leaves %q", got)
	}
	for _, text := range []string{"", "permission denied", "é"} {
		if got := secret.ScrubText(text, secret.Value{}, secret.NewValue([]byte("é")), secret.NewValue([]byte("4711")), secret.NewValue([]byte(bird))); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	v := secret.NewValue([]byte(bird))
	if secret.Scrub(nil, v) != nil {
		t.Error("nil is an error")
	}
	why := errors.New("access denied")
	clean := fmt.Errorf("%w: on purpose", why)
	if got := secret.Scrub(clean, v); !errors.Is(got, clean) || got.Error() != clean.Error() {
		t.Errorf("an error without the value becomes %v", got)
	}
	// The text of one says nothing, and what it is made of does.
	for name, err := range map[string]error{
		"in the text": fmt.Errorf("%w: body was %s", why, bird), "in what it is made of": &hidden{why, bird}, "of an error inside": fmt.Errorf("a: %w", &hidden{why, bird}),
	} {
		got := secret.Scrub(err, v)
		if !errors.Is(got, why) {
			t.Errorf("%s: it does not match what it wraps", name)
		}
		for e := got; e != nil; e = errors.Unwrap(e) {
			if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, "9f31c7") {
				t.Errorf("%s: it prints the value", name)
			}
		}
	}
}

type hidden struct {
	why  error
	body string
}

func (h *hidden) Error() string { return "refused" }
func (h *hidden) Unwrap() error { return h.why }

func FuzzScrubText(f *testing.F) {
	f.Add("status 400: ", []byte(bird))
	f.Add("ü\xff", []byte("\x00\xff\x80abcdef"))
	const shown = "[redacted]"
	f.Fuzz(func(t *testing.T, text string, value []byte) {
		got := secret.ScrubText(text+string(value), secret.NewValue(value))
		if len(value) >= 6 && len(text)+len(value) < 1000 && strings.Contains(strings.ReplaceAll(got, shown, "\x00"), string(value)) {
			t.Error("the value is still there")
		}
	})
}
