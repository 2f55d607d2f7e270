package config

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/tradepulse/rotator/pkg/secret"
)

// agent checks the files of the agent, and that no two are the same one.
func (k *checker) agent() {
	a := k.cfg.Agent
	if len(a.Files) > 0 && a.Service == "" && k.whole("agent") {
		k.report([]string{"agent"}, "service is missing", "name the service that the agent reports for")
	}
	ids, paths := map[string]int{}, map[string]int{}
	for i, f := range a.Files {
		at := append([]string{"agent"}, index("files", i)...)
		if first, ok := ids[f.ID]; ok && f.ID != "" {
			k.report(append(at, "id"), fmt.Sprintf("agent.files[%d] has the same id", first), "an agent reports one file for each secret; run another agent")
		}
		if first, ok := paths[filepath.Clean(f.Path)]; ok && f.Path != "" {
			k.report(append(at, "path"), fmt.Sprintf("agent.files[%d] is the same file", first), "give each secret its own")
		}
		ids[f.ID], paths[filepath.Clean(f.Path)] = i, i
		k.agentSecret(append(at, "id"), f.ID)
		k.agentFile(at, f)
	}
}

// agentSecret checks that a file can hold the secret.
func (k *checker) agentSecret(at []string, id string) {
	if id == "" || k.refused("secrets") {
		return
	}
	var known []string
	for _, s := range k.cfg.Secrets {
		if s.ID != "" {
			known = append(known, s.ID)
		}
		if s.ID != id {
			continue
		}
		if s.Rollout == string(secret.RolloutPrepare) {
			k.report(at, "with rollout: prepare-then-activate a service holds two versions, and a file holds one", "use rollout: activate for it, or a client")
		}
		k.agentListed(at, s)
		return
	}
	k.report(at, "there is no secret "+quote(id), didYouMean(id, slices.Compact(known)))
}

// agentListed warns of an agent that reports under a name that the secret does not
// list: its rollouts wait for the listed services, which nothing reports for.
func (k *checker) agentListed(at []string, s Secret) {
	var listed []string
	for _, e := range s.Services {
		listed = append(listed, e.Name)
	}
	if service := k.cfg.Agent.Service; len(listed) > 0 && service != "" && !slices.Contains(listed, service) {
		k.warn(at, "agent.service is "+quote(service)+", which the secret does not list under services", didYouMean(service, listed))
	}
}

func (k *checker) agentFile(at []string, f AgentFile) {
	if f.Signal != nil && f.Command != nil {
		k.report(append(at, "command"), "signal and command exclude each other", "keep one of them")
	}
	if s := f.Signal; s != nil && (s.PIDFile == "") == (s.PID == 0) && k.whole(append(at, "signal")...) {
		k.report(append(at, "signal"), "it has to name one process", "give pid_file or pid, one of them")
	}
	if mode, err := f.FileMode(); err == nil && mode&othersRead != 0 {
		k.warn(append(at, "mode"), "everybody on the machine can read the secret", "use 0400, or 0440 and a group")
	}
}
