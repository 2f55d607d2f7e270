package inspect

import (
	"strings"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// violations returns a finding if the announcement of the current version says that it
// breaks the policy of the secret, or that whether it does is not known.
func (s Secret) violations(announced events.Data) []secret.Finding {
	switch {
	case announced.VersionID != s.VersionID:
		return nil
	case announced.Unchecked:
		return []secret.Finding{{
			Code: CodeUnchecked, Severity: secret.SeverityWarning,
			Message: "unchecked: another program wrote the current version, which could not be read, so whether it satisfies the policy is not known",
			Remedy:  "let schedulers and workers read the value, and run 'rotator policy check'",
		}}
	case len(announced.Violations) == 0:
		return nil
	}
	return []secret.Finding{{
		Code: CodePolicy, Severity: secret.SeverityError,
		Message: "another program wrote the current version, which breaks the policy: " + strings.Join(announced.Violations, ", "),
		Remedy:  "rotate it, or write a value that satisfies the policy",
	}}
}
