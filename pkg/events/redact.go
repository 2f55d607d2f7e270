package events

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Format prints the password, also one in the URL, as [redacted].
func (cfg ConnectConfig) Format(s fmt.State, verb rune) {
	type plain ConnectConfig
	cfg.URL, cfg.Password = cfg.url(), secret.Redact(cfg.Password)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(cfg))
}

// userinfo finds what a URL has before the host, also in a text that does not parse.
var userinfo = regexp.MustCompile(`(?://|^)([^/,@\s]*)@`)

// scrub returns err without the credentials of the connection, which the parser of a
// URL quotes.
func (cfg ConnectConfig) scrub(err error) error {
	known := []secret.Value{secret.NewValue([]byte(cfg.Password))}
	for _, found := range userinfo.FindAllStringSubmatch(cfg.URL, -1) {
		_, password, ok := strings.Cut(found[1], ":")
		if !ok {
			password = found[1] // a token
		}
		known = append(known, secret.NewValue([]byte(password)))
		if plain, err := url.PathUnescape(password); err == nil {
			known = append(known, secret.NewValue([]byte(plain)))
		}
	}
	return secret.Scrub(err, known...)
}
