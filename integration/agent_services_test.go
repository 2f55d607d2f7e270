package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// TestAgentOnACluster runs the agent as a service of a cluster: without a
// signing key, told by the bus alone.
func TestAgentOnACluster(t *testing.T) {
	t.Parallel()
	b := startBroker(t, true)
	s := &agentSite{dir: t.TempDir(), agentHealth: freeAddress(t)}
	_, err := natskv.GenerateMasterKey(s.file("master.key"))
	signer, serr := events.GenerateSigner()
	if err := errors.Join(err, serr); err != nil {
		t.Fatal(err)
	}
	if err := signer.Save(s.file("signing.key")); err != nil {
		t.Fatal(err)
	}
	common := fmt.Sprintf("nats: {url: %q}\nlog: {format: json, level: debug}\nstores: {main: {type: natskv, master_key: {file: %q}}}\n"+
		"signing: {key: {file: %q}, trusted_keys: [%q]}\nsecrets:\n  - {id: %s, ttl: 1d, create: true, services: [nightly]}\n",
		b.server.Load().ClientURL(), s.file("master.key"), s.file("signing.key"), s.file("signing.key.pub"), handed)
	health := freeAddress(t)
	s.cfg = s.file("rotator.yaml")
	agentConfig := s.file("agent.yaml")
	for path, more := range map[string]string{
		s.cfg: fmt.Sprintf("node: {data_dir: %q}\nhttp: {listen: %q}\n", s.file("rotator"), health),
		agentConfig: fmt.Sprintf("node: {data_dir: %q}\nagent:\n  service: nightly\n  poll_every: 1d\n  files:\n    - {id: %s, path: %q}\n",
			s.file("nowhere"), handed, s.file("key")),
	} {
		text := common + more
		if path == agentConfig { // the key that signs is none of its business
			text = strings.Replace(text, fmt.Sprintf("key: {file: %q}, ", s.file("signing.key")), "", 1)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.node = start(t, "run", "--config", s.cfg, "--roles", "scheduler,worker,notifier")
	ready(t, health)
	agent := s.notifier(t, "agent", "--config", agentConfig)
	s.applied(t)
	for range 2 {
		want := s.rotate(t)
		if got := s.applied(t).Version; got != want {
			t.Errorf("applied %s, want %s", got, want)
		}
	}
	if code := agent.drain(t); code != 0 {
		t.Errorf("exit %d:\n%s", code, agent.out)
	}
	if _, err := os.Stat(s.file("nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the agent made itself a key: %v", err)
	}
}

// TestAgentOnce writes files before a program starts, without a server.
func TestAgentOnce(t *testing.T) {
	t.Parallel()
	s := &agentSite{dir: t.TempDir(), agentHealth: "none"}
	s.cfg = s.file("agent.yaml")
	text := fmt.Sprintf("stores: {dev: {type: env}}\nsecrets:\n  - {id: KEY, disabled: true}\n  - {id: TOKEN, disabled: true}\n"+
		"agent:\n  service: nightly\n  files:\n    - {id: KEY, path: %q, signal: {pid_file: /nowhere.pid}}\n    - {id: TOKEN, path: %q}\n", s.file("key"), s.file("token"))
	if err := os.WriteFile(s.cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	once := func(wait string, vars ...string) (string, int) {
		p := &program{cmd: exec.Command(binary(t, "notifier"), "agent", "--once", "--wait", wait, "--config", s.cfg), out: &output{}, done: make(chan struct{})}
		p.cmd.Env = append(os.Environ(), vars...)
		p.run(t)
		code := p.wait(t)
		return p.out.String(), code
	}
	if out, code := once("100ms", "KEY=QXZJWKVqxzjwkvQXZJ"); code != 1 || !strings.Contains(out, "TOKEN") || strings.Contains(out, "QXZJ") {
		t.Errorf("without TOKEN: exit %d: %s", code, out)
	}
	if out, code := once("1m", "KEY=QXZJWKVqxzjwkvQXZJ", "TOKEN=t"); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	for name, want := range map[string]string{"key": "QXZJWKVqxzjwkvQXZJ", "token": "t"} {
		b, err := os.ReadFile(s.file(name))
		info, serr := os.Stat(s.file(name))
		if err := errors.Join(err, serr); err != nil || string(b) != want || info.Mode().Perm() != 0o400 {
			t.Errorf("%s: %v, or not what it should be", name, err)
		}
	}
	if out, code := rotator(t, "config", "validate", s.cfg); code != 0 {
		t.Errorf("validate: exit %d: %s", code, out)
	}
}
