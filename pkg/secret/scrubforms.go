package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// escapes are the ways in which a server may quote a request.
var escapes = []func(string) string{
	jsonEscaped(false), jsonEscaped(true), asciiJSON, goEscaped,
	url.QueryEscape, url.PathEscape, lowerURL(url.QueryEscape), lowerURL(url.PathEscape),
	html.EscapeString, otherHTML.Replace,
}

// escaped returns the forms of a value: as it is, escaped in one of the ways, one
// way within JSON or a URL, and all of that in base64. A form that begins or ends in
// the middle of a value is a piece of one of these.
func escaped(v []byte) []string {
	plain := map[string]struct{}{string(v): {}}
	for _, escape := range escapes {
		plain[escape(string(v))] = struct{}{}
	}
	forms := map[string]struct{}{hex.EncodeToString(v): {}, strings.ToUpper(hex.EncodeToString(v)): {}}
	for form := range plain {
		forms[form] = struct{}{}
		forms[jsonEscaped(false)(form)] = struct{}{}
		forms[url.QueryEscape(form)] = struct{}{}
		for _, coded := range base64Of(form) {
			forms[coded] = struct{}{}
			forms[url.QueryEscape(coded)] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(forms))
}

// base64Of returns what of a text is in the base64 of a longer one, wherever it
// begins there. The characters at both ends that depend on the rest are left out.
func base64Of(text string) (out []string) {
	padded := append(make([]byte, 2), text...)
	for before := range 3 {
		b := padded[2-before:]
		whole := len(b) * 8 / 6 // characters that depend on nothing behind
		skip := (before*8 + 5) / 6
		if whole <= skip {
			continue
		}
		coded := base64.RawStdEncoding.EncodeToString(b)[skip:whole]
		out = append(out, coded)
		if strings.ContainsAny(coded, "+/") {
			out = append(out, base64.RawURLEncoding.EncodeToString(b)[skip:whole])
		}
	}
	return out
}

// printable reports whether no encoder of JSON and no syntax of strings changes s.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

func jsonEscaped(forHTML bool) func(string) string {
	return func(s string) string {
		if printable(s) {
			return s
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(forHTML)
		_ = enc.Encode(s) // of a string it cannot fail
		return unquoted(strings.TrimSuffix(b.String(), "\n"))
	}
}

// asciiJSON escapes as those encoders of JSON do that write ASCII only.
func asciiJSON(s string) string {
	if printable(s) {
		return s
	}
	var b strings.Builder
	for _, r := range jsonEscaped(false)(s) {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func goEscaped(s string) string { return unquoted(strconv.Quote(s)) }

func unquoted(s string) string { return s[1 : len(s)-1] }

func lowerURL(escape func(string) string) func(string) string {
	return func(s string) string {
		b := []byte(escape(s))
		for i := 0; i+2 < len(b); i++ {
			if b[i] == '%' {
				copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
			}
		}
		return string(b)
	}
}

// otherHTML escapes as Python does.
var otherHTML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#x27;")
