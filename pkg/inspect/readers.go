package inspect

import (
	"context"
	"fmt"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// The codes of findings about readers.
const (
	// CodeUnknownReader: an identity reads the secret and reports no use of it.
	CodeUnknownReader secret.FindingCode = "unknown_reader"
	// CodeReadsMissed: there may be such identities that were not seen.
	CodeReadsMissed secret.FindingCode = "reads_missed"
)

// readers adds to what is known of a secret who reads it without reporting it.
func (v *View) readers(ctx context.Context, s *Secret, q rollout.Question, fleet events.Fleet) error {
	if v.known == nil {
		return nil
	}
	reads, err := v.bus.Reads(ctx, s.SecretID)
	if err != nil {
		return err
	}
	unknown := q.Readers(reads, fleet, *v.known)
	safe := s.SafeToRevoke.Among(unknown)
	s.SafeToRevoke = &safe
	for _, r := range unknown.Readers {
		s.Findings = append(s.Findings, secret.Finding{
			Code: CodeUnknownReader, Severity: secret.SeverityWarning, Message: r.String(),
			Remedy: "have it report its use, stop it, or name it under readers (docs/operating.md)",
		})
	}
	if unknown.More {
		s.Findings = append(s.Findings, secret.Finding{
			Code: CodeUnknownReader, Severity: secret.SeverityWarning, Message: fmt.Sprintf("more than %d identities read it", events.MaxReaders),
			Remedy: "see the log of the store for the others (docs/operating.md)",
		})
	}
	if unknown.Missed != "" {
		s.Findings = append(s.Findings, secret.Finding{Code: CodeReadsMissed, Severity: secret.SeverityWarning, Message: unknown.Missed, Remedy: "see docs/operating.md"})
	}
	return nil
}
