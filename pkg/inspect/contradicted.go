package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// CodeContradicted is the code of the finding that a version was retired although it
// was in use.
const CodeContradicted secret.FindingCode = "proof_contradicted"

// contradicted adds what the log says against the proof of the last retirement, until
// another version than the one of then is current.
func (v *View) contradicted(ctx context.Context, s *Secret) error {
	if v.bus == nil || s.VersionID == "" {
		return nil
	}
	last, err := v.bus.Last(ctx, events.TypeProofContradicted, s.SecretID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return err
	}
	d := last.Event.Data
	if d.Contradiction == nil || d.VersionID != s.VersionID {
		return nil
	}
	f := secret.Finding{Code: CodeContradicted, Severity: secret.SeverityError, Subject: string(s.SecretID)}
	f.Message, f.Remedy = describe(d.PreviousVersionID, *d.Contradiction)
	s.Findings = append(slices.Clip(s.Findings), f)
	return nil
}

// describe says what contradicts a proof, and what to do.
func describe(v secret.VersionID, c events.Contradiction) (message, remedy string) {
	who := c.Service
	if c.Instance != "" {
		who += "/" + c.Instance
	}
	if c.Kind == events.ContradictionJoinedLate {
		return fmt.Sprintf("version %s was retired before %s joined, which had started at %s without being on record", v, who, c.StartedAt.UTC().Format(time.RFC3339)),
			"make sure that it uses the current version, and configure join: required for " + c.Service
	}
	return fmt.Sprintf("client %s used version %s after it was retired, and was refused by %s (%d times, last at %s)", c.Client, v, who, c.Uses, c.Last.UTC().Format(time.RFC3339)),
		"find that client; if you do not know it, the value has leaked"
}
