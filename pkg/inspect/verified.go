package inspect

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// The codes of findings about a login with the current version at its target.
const (
	// CodeTargetRefuses: the target does not take the current version.
	CodeTargetRefuses secret.FindingCode = "target_refuses"
	// CodeTargetUnknown: whether it does is not known.
	CodeTargetUnknown secret.FindingCode = "target_unknown"
)

// staleLogin is from which age on a login says nothing of now. Workers say once a day
// what has not changed.
const staleLogin = 48 * time.Hour

// TargetLogin is the last login with the current version at its target, as the workers
// have announced it.
type TargetLogin struct {
	events.Verification

	// At is when it was announced last.
	At time.Time `json:"at"`
}

// verified adds what the last login with the current version has shown. One with a
// version before says nothing.
func (v *View) verified(ctx context.Context, s *Secret) error {
	if v.bus == nil || s.VersionID == "" {
		return nil
	}
	last, err := v.bus.Last(ctx, events.TypeVerified, s.SecretID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return err
	}
	d := last.Event.Data
	if d.Verification == nil || d.VersionID != s.VersionID {
		return nil
	}
	s.Login = &TargetLogin{*d.Verification, last.At}
	if time.Since(last.At) > staleLogin {
		s.Login.State, s.Login.Message = events.VerifiedUnknown, "no worker has said for two days what a login shows"
	}
	if f, ok := s.Login.finding(s.SecretID, s.VersionID); ok {
		s.Findings = append(slices.Clip(s.Findings), f)
	}
	return nil
}

// finding returns what is wrong, and false for a login that works.
func (l TargetLogin) finding(id secret.ID, v secret.VersionID) (secret.Finding, bool) {
	f := secret.Finding{Severity: secret.SeverityError, Code: CodeTargetRefuses, Subject: string(id)}
	since := " since " + stamp(l.Since)
	switch l.State {
	case events.VerifiedWorks:
		return f, false
	case events.VerifiedRefused:
		f.Message = "its target refuses the current version " + string(v) + since + ": " + l.Message
		f.Remedy = "find out what else changes this credential, stop that, and rotate the secret"
	case events.VerifiedUnknown:
		f.Code, f.Severity = CodeTargetUnknown, secret.SeverityWarning
		f.Message = "whether its target takes the current version " + string(v) + " is unknown" + since + ": " + l.Message
		f.Remedy = "make the target reachable for the workers"
	default: // of a later worker
		return f, false
	}
	return f, true
}

// verifiedLine says in one line what a login has shown.
func verifiedLine(d events.Data) string {
	out := "a login at the target with version " + string(d.VersionID) + ": " + string(d.Verification.State)
	if d.Verification.Message != "" {
		out += " (" + d.Verification.Message + ")"
	}
	return out
}
