package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// The codes of findings about targets.
const (
	// CodeUnverified: no worker has said whether the target takes the current version.
	CodeUnverified secret.FindingCode = "target_unverified"
	// CodeCredential: a credential at the target works and belongs to no version that is
	// known.
	CodeCredential secret.FindingCode = "credential_orphaned" //nolint:gosec // a code
	// CodeUnlistedTarget: what the target has could not be read.
	CodeUnlistedTarget secret.FindingCode = "target_unlisted"
)

// unverified is about secrets with a target at which no worker logs in.
func unverified(f Facts) []Finding {
	if f.Bus != nil || f.Config == nil || f.Config.Worker.VerifyEvery < 0 {
		return nil
	}
	has := map[secret.ID]bool{}
	for _, s := range f.Config.Secrets {
		has[secret.ID(s.ID)] = s.Target.Name != ""
	}
	wait := 2 * time.Duration(f.Config.Worker.VerifyEvery)
	var out []Finding
	for _, s := range f.Secrets {
		if !has[s.SecretID] || s.Err != nil || s.VersionID == "" || s.Login != nil || f.Now.Sub(s.CreatedAt) < wait {
			continue
		}
		out = append(out, doubtful(CodeUnverified, name(s), fmt.Sprintf("no worker has logged in with version %s, which is current, at its target", s.VersionID), runNode))
	}
	return out
}

// credentials is about what works at a target and belongs to no version: it was left by a
// rotation that was given up, by a revocation that did not happen, or by another program.
func credentials(f Facts) []Finding {
	var out []Finding
	for _, l := range f.Listed {
		if l.Err != nil {
			out = append(out, doubtful(CodeUnlistedTarget, string(l.Secret), fmt.Sprintf("which credentials it has at the target %s could not be read: %v", l.Target, l.Err), "rotator target check "+l.Target))
			continue
		}
		for _, c := range l.Credentials {
			if found, ok := l.orphaned(c); ok {
				out = append(out, found)
			}
		}
	}
	return out
}

// orphaned returns a finding about a credential that no version of the secret refers to.
func (l Listed) orphaned(c target.Credential) (Finding, bool) {
	foreign := c.Secret != "" && c.Secret != l.Secret
	if !foreign && slices.Contains(l.Known, c.Version) {
		return Finding{}, false
	}
	whose := "belongs to no version that is known"
	switch {
	case foreign:
		whose = fmt.Sprintf("belongs to the secret %s", c.Secret)
	case c.Version != "":
		whose = fmt.Sprintf("belongs to version %s, which is not in use", c.Version)
	}
	evidence := fmt.Sprintf("the target %s has %s, which logs in and %s", l.Target, cmp.Or(c.Name, string(c.Version)), whose)
	if c.Remedy != "" {
		evidence += "; if no program uses it: " + c.Remedy
	}
	return doubtful(CodeCredential, string(l.Secret), evidence, "rotator history "+string(l.Secret)), true
}
