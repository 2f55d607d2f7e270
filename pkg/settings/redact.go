package settings

import (
	"fmt"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Format prints the credentials as [redacted].
func (a VaultAccess) Format(s fmt.State, verb rune) {
	type plain VaultAccess
	a.SecretID, a.Token = secret.Redact(a.SecretID), secret.Redact(a.Token)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(a))
}
