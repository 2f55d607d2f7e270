package vault

import (
	"fmt"

	"github.com/tradepulse/rotator/pkg/secret"
)

func values(credentials ...string) (out []secret.Value) {
	for _, c := range credentials {
		out = append(out, secret.NewValue([]byte(c)))
	}
	return out
}

// confidential returns what a call may have sent of the credentials, with the token
// that it began with.
func (s *session) confidential(token string) []secret.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	return values(token, s.c.Token(), s.sent)
}

// Format prints the token as [redacted].
func (t Token) Format(s fmt.State, verb rune) {
	type plain Token
	t.Token = secret.Redact(t.Token)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(t))
}

// Format prints the secret id as [redacted].
func (a AppRole) Format(s fmt.State, verb rune) {
	type plain AppRole
	a.SecretID = secret.Redact(a.SecretID)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(a))
}

// Format prints the credentials as [redacted].
func (a Access) Format(s fmt.State, verb rune) {
	type plain Access
	a.SecretID, a.Token = secret.Redact(a.SecretID), secret.Redact(a.Token)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(a))
}
