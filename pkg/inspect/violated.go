package inspect

import (
	"strings"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// violations returns a finding if the announcement of the current version says that it
// breaks the policy of the secret.
func (s Secret) violations(announced events.Data) []secret.Finding {
	if announced.VersionID != s.VersionID || len(announced.Violations) == 0 {
		return nil
	}
	return []secret.Finding{{
		Code: CodePolicy, Severity: secret.SeverityError,
		Message: "another program wrote the current version, which breaks the policy: " + strings.Join(announced.Violations, ", "),
		Remedy:  "rotate it, or write a value that satisfies the policy",
	}}
}
