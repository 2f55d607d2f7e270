package doctor

import (
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// CodeUnverified: no worker has said whether the target takes the current version.
const CodeUnverified secret.FindingCode = "target_unverified"

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
