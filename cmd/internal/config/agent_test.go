package config_test

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

func TestFilesOfTheAgent(t *testing.T) {
	const secrets = "stores: {m: {type: natskv}}\nsecrets: [{id: a}, {id: s, rollout: prepare-then-activate, retire: keep}]\ndefaults: {no_subscribers: hold}\n"
	for name, c := range map[string]struct {
		agent string
		want  []string
	}{
		"a file alone":        {"{service: x, files: [{id: a, path: /run/a}]}", nil},
		"it needs a service":  {"{files: [{id: a, path: /run/a}]}", []string{"test.yaml:4:8: agent: service is missing; name the service that the agent reports for"}},
		"a secret of its own": {"{service: x, files: [{id: b, path: /run/a}]}", []string{`test.yaml:4:34: agent.files[0].id: there is no secret "b"; use one of a, s`}},
		"a file holds one version": {"{service: x, files: [{id: s, path: /run/a}]}",
			[]string{"test.yaml:4:34: agent.files[0].id: with rollout: prepare-then-activate a service holds two versions, and a file holds one; use rollout: activate for it, or a client"}},
		"one process": {"{service: x, files: [{id: a, path: /run/a, signal: {pid: 1, pid_file: /run/p}}]}",
			[]string{"test.yaml:4:59: agent.files[0].signal: it has to name one process; give pid_file or pid, one of them"}},
		"the owner can read it": {`{service: x, files: [{id: a, path: /run/a, mode: "0040"}]}`,
			[]string{"test.yaml:4:57: agent.files[0].mode: the owner could not read it; write it in quotes, as \"0400\", or \"0440\" for a group too"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantProblems(t, problems(t, secrets+"agent: "+c.agent+"\n"), c.want...)
		})
	}

	c := parse(t, secrets+"agent:\n  service: x\n  files:\n    - {id: a, path: /run/a, signal: {pid: 1}}\n")
	f := c.Agent.Files[0]
	if mode, err := f.FileMode(); err != nil || mode != 0o400 || f.Signal.Name != "SIGHUP" || f.Command != nil || time.Duration(c.Agent.PollEvery) != 5*time.Minute {
		t.Errorf("mode %o, %v, %+v, every %s", mode, err, f, c.Agent.PollEvery)
	}
	c = parse(t, secrets+"agent: {service: x, files: [{id: a, path: /run/a, mode: '444', command: {argv: [reload]}}]}\n")
	if w := c.Warnings(); len(w) != 1 || w[0].Subject != "agent.files[0].mode" || w[0].Severity != secret.SeverityWarning || time.Duration(c.Agent.Files[0].Command.Timeout) != 30*time.Second {
		t.Errorf("warnings %v, %+v", w, c.Agent.Files[0].Command)
	}
}
