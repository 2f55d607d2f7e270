package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
)

// agentSite is a single node with an agent beside it, and a program that has no
// client.
type agentSite struct {
	dir, cfg, health, agentHealth string
	node                          *program
	agents                        []*program
}

const (
	handed     = "hand/key"
	oneValue   = `^[QXZJWKVqxzjwkv]{40}$`
	anyOfValue = `[QXZJWKVqxzjwkv]{12}`
)

// newAgentSite starts a node with one secret, whose value is forty characters that
// nothing else uses, and an agent that keeps it in a file; reload is what the
// configuration says of how the program is told.
func newAgentSite(t *testing.T, reload string) *agentSite {
	t.Helper()
	s := &agentSite{dir: t.TempDir(), agentHealth: freeAddress(t)}
	s.cfg, s.health = singleNode(t, fmt.Sprintf(`  - {id: %s, ttl: 1h, grace: none, create: true, services: [nightly], policy: {alphabet: "QXZJWKVqxzjwkv", classes: [], length: 40, min_length: 40}}
agent:
  service: nightly
  files:
    - {id: %s, path: %q, mode: "0440"%s}
`, handed, handed, s.file("key"), reload))
	s.node = start(t, "run", "--config", s.cfg)
	ready(t, s.health)
	return s
}

func (s *agentSite) file(name string) string { return filepath.Join(s.dir, name) }

// agent starts an agent; its output is searched for values in the end.
func (s *agentSite) agent(t *testing.T) *program {
	t.Helper()
	p := s.notifier(t, "agent", "--config", s.cfg)
	s.agents = append(s.agents, p)
	return p
}

func (s *agentSite) notifier(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(binary(t, "notifier"), args...), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "ROTATOR_HTTP_AGENT_LISTEN="+s.agentHealth, "VAULT_TOKEN=credentials-of-the-agent", "OTEL_TRACES_EXPORTER=console")
	p.run(t)
	return p
}

// rotate makes a new version and returns its id.
func (s *agentSite) rotate(t *testing.T) string {
	t.Helper()
	out, code := rotator(t, "rotate", handed, "--again", "--config", s.cfg, "--json")
	var got struct {
		To string `json:"version_id"`
	}
	_, object, _ := strings.Cut(out, "{") // a warning on stderr may come first
	if err := json.Unmarshal([]byte("{"+object), &got); err != nil || code != 0 || got.To == "" {
		t.Fatalf("rotate: exit %d, %v: %s", code, err, out)
	}
	return got.To
}

// seen is what rotator status says of the secret.
type seen struct {
	Version  string `json:"version_id"`
	Applied  int
	Blocking []struct{ Service, Reason, Detail string }
}

func (s *agentSite) status(t *testing.T) seen {
	t.Helper()
	out, code := rotator(t, "status", "--config", s.cfg, "--json")
	var all []seen
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) != 1 {
		t.Fatalf("status: exit %d, %v: %s", code, err, out)
	}
	return all[0]
}

// applied waits until the agent reports that the program runs the current
// version.
func (s *agentSite) applied(t *testing.T) seen {
	t.Helper()
	var last seen
	waittest.Until(t, "the rollout has converged", func() error {
		if last = s.status(t); last.Applied != 1 || len(last.Blocking) != 0 || last.Version == "" {
			return fmt.Errorf("%+v", last)
		}
		return nil
	})
	return last
}

// lines returns what the program without a client has noted.
func (s *agentSite) lines(name string) []string {
	b, err := os.ReadFile(s.file(name))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

func (s *agentSite) noValueLeaves(t *testing.T) {
	t.Helper()
	leak := regexp.MustCompile(anyOfValue)
	for i, p := range s.agents {
		if out := p.out.String(); leak.MatchString(out) || len(out) == 0 {
			t.Errorf("the output of agent %d is empty, or holds a value", i)
		}
	}
}

// reader reads the file again and again, and fails when it is not one whole
// value.
func (s *agentSite) reader(t *testing.T) (stop func()) {
	t.Helper()
	whole := regexp.MustCompile(oneValue)
	done, wg := make(chan struct{}), sync.WaitGroup{}
	reads := 0
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			b, err := os.ReadFile(s.file("key"))
			if reads++; err != nil || !whole.Match(b) {
				t.Errorf("read %d: %d bytes that are no value, %v", reads, len(b), err)
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		wg.Wait()
		t.Logf("%d reads", reads)
	})
}

// TestAgentSignals keeps a file for a program that is told by SIGHUP, through
// rotations, a restart, and an agent that is killed.
func TestAgentSignals(t *testing.T) {
	t.Parallel()
	s := newAgentSite(t, "")
	daemon := exec.Command("sh", "-c", `trap 'cat key >>heard; echo >>heard' HUP; echo $$ >pid; while :; do sleep 1000 & wait $!; kill $!; done`)
	daemon.Dir = s.dir
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(daemon) })
	text, err := os.ReadFile(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	withSignal := strings.Replace(string(text), `mode: "0440"`, fmt.Sprintf(`mode: "0440", signal: {pid_file: %q}`, s.file("pid")), 1)
	if err := os.WriteFile(s.cfg, []byte(withSignal), 0o600); err != nil {
		t.Fatal(err)
	}
	// heard waits until the program has heard n times, the last time of what is in
	// the file.
	heard := func(n int) {
		t.Helper()
		waittest.Until(t, "the program is signalled once for each rotation", func() error {
			got := s.lines("heard")
			b, err := os.ReadFile(s.file("key"))
			if err != nil || len(got) != n || got[n-1] != string(b) {
				return fmt.Errorf("heard %d times, want %d; %w", len(got), n, err)
			}
			return nil
		})
	}

	agent := s.agent(t)
	heard(1)
	s.applied(t)
	if err := get(t, "http://"+s.agentHealth+"/readyz", nil); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(s.file("key")); err != nil || info.Mode().Perm() != 0o440 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	stop := s.reader(t)
	defer stop()
	for n := range 4 {
		want := s.rotate(t)
		heard(n + 2)
		if got := s.applied(t).Version; got != want {
			t.Errorf("applied %s, want %s", got, want)
		}
	}
	if code := agent.drain(t); code != 0 || !strings.Contains(agent.out.String(), "agent.drained") {
		t.Errorf("drain: exit %d:\n%s", code, agent.out)
	}
	s.rotate(t)
	if b := s.status(t).Blocking; len(b) != 1 || b[0].Service != "nightly" || b[0].Reason != "runs_other_version" && b[0].Reason != "silent" {
		t.Errorf("the program lives without its agent, and runs the version before: blocked by %+v", b)
	}

	agent = s.agent(t)
	heard(6)
	s.applied(t)
	agent.drain(t)
	agent = s.agent(t)
	s.applied(t)
	heard(6) // it had nothing to tell
	kill(agent.cmd)
	<-agent.done
	s.rotate(t)
	agent = s.agent(t)
	heard(7)
	s.applied(t)
	agent.drain(t)
	stop()
	s.noValueLeaves(t)
	if len(s.leftovers(t)) != 0 {
		t.Errorf("left over: %v", s.leftovers(t))
	}
}

// leftovers returns the temporary files beside the file.
func (s *agentSite) leftovers(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(s.file(".*-tmp"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// reloader is a command that notes that it ran, prints the value, and fails or
// hangs while there is a file that says so.
const reloader = `#!/bin/sh
cd "$(dirname "$0")" || exit 9
env >env
echo "$ROTATOR_VERSION_ID" >>ran
cat "$ROTATOR_FILE"
while test -e hang; do sleep 0.1; done
if test -e broken; then exit 3; fi
`

func newCommandSite(t *testing.T) *agentSite {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "reload")
	s := newAgentSite(t, fmt.Sprintf(`, command: {argv: [%q], timeout: 1m}`, script))
	if err := os.WriteFile(script, []byte(reloader), 0o700); err != nil {
		t.Fatal(err)
	}
	s.dir = dir // where the command notes what it sees
	return s
}

func (s *agentSite) set(t *testing.T, name string, on bool) {
	t.Helper()
	var err error
	if on {
		err = os.WriteFile(s.file(name), nil, 0o600)
	} else {
		err = os.Remove(s.file(name))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// failed waits until the agent reports why it could not apply the version.
func (s *agentSite) failed(t *testing.T) {
	t.Helper()
	waittest.Until(t, "the command that fails blocks the rollout", func() error {
		b := s.status(t).Blocking
		if len(b) != 1 || b[0].Service != "nightly" || b[0].Reason != "failed" || !strings.Contains(b[0].Detail, "exit status 3") {
			return fmt.Errorf("blocked by %+v", b)
		}
		return nil
	})
}

// TestAgentRunsACommand reports what the command says: at the start and later,
// failed and then applied.
func TestAgentRunsACommand(t *testing.T) {
	t.Parallel()
	s := newCommandSite(t)
	s.set(t, "broken", true)
	agent := s.agent(t)
	s.failed(t)
	if err := get(t, "http://"+s.agentHealth+"/readyz", nil); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("it is ready, or does not say why not: %v", err)
	}
	if err := get(t, "http://"+s.agentHealth+"/healthz", nil); err != nil {
		t.Error(err)
	}
	s.set(t, "broken", false)
	first := s.applied(t)

	s.set(t, "broken", true)
	second := s.rotate(t)
	s.failed(t)
	s.set(t, "broken", false)
	if got := s.applied(t).Version; got != second || got == first.Version {
		t.Errorf("applied %s, want %s", got, second)
	}
	if code := agent.drain(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	env, err := os.ReadFile(s.file("env"))
	if err != nil || !strings.Contains(string(env), "ROTATOR_SECRET_ID="+handed+"\n") {
		t.Errorf("the command's environment: %v\n%s", err, env)
	}
	if regexp.MustCompile(anyOfValue).Match(env) || strings.Contains(string(env), "credentials-of-the-agent") {
		t.Error("the command's environment holds the value, or credentials of the agent")
	}
	s.noValueLeaves(t)
}

// TestAgentKilledBetweenFileAndCommand kills the agent while its command runs:
// the next one runs it again, and the one after that has nothing to do.
func TestAgentKilledBetweenFileAndCommand(t *testing.T) {
	t.Parallel()
	s := newCommandSite(t)
	agent := s.agent(t)
	s.applied(t)
	s.set(t, "hang", true)
	want := s.rotate(t)
	waittest.Until(t, "the command has run for both versions", func() error {
		if ran := s.lines("ran"); len(ran) != 2 || ran[1] != want {
			return fmt.Errorf("ran for %v", ran)
		}
		return nil
	})
	kill(agent.cmd)
	<-agent.done
	s.set(t, "hang", false)
	agent = s.agent(t)
	s.applied(t)
	agent.drain(t)
	agent = s.agent(t)
	s.applied(t)
	agent.drain(t)
	if ran := s.lines("ran"); len(ran) != 3 || ran[2] != want {
		t.Errorf("ran for %v, want %s twice", ran, want)
	}
	s.noValueLeaves(t)
}
