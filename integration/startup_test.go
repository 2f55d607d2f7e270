package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tradepulse/rotator/internal/waittest"
)

// awaited checks that a program runs, is not ready, and says why: the reason
// contains a text.
func awaited(t *testing.T, p *program, health, reason string) {
	t.Helper()
	waittest.Until(t, "the program waits for "+reason, func() error {
		select {
		case <-p.done:
			t.Fatalf("it has ended:\n%s", p.out)
		default:
		}
		if err := get(t, "http://"+health+"/readyz", nil); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), reason) {
			return fmt.Errorf("readyz: %w, want 503 because of %s", err, reason)
		}
		return nil
	})
}

// guard runs a server whose one user may do what the permissions say, until permit
// gives it others.
func guard(t *testing.T, address string, may *server.Permissions) (permit func(*server.Permissions)) {
	t.Helper()
	dir := t.TempDir()
	options := func(may *server.Permissions) *server.Options {
		o := &server.Options{ServerName: "test", JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
			Users: []*server.User{{Username: "rotator", Password: "Pass-Word-1", Permissions: may}}}
		host, port, _ := strings.Cut(address, ":")
		o.Host = host
		if _, err := fmt.Sscan(port, &o.Port); err != nil {
			t.Fatal(err)
		}
		return o
	}
	s, err := server.NewServer(options(may))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server did not start")
	}
	return func(may *server.Permissions) {
		t.Helper()
		if err := s.ReloadOptions(options(may)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAMissingPermissionIsNamedAndWaitedFor starts a node whose user may not make
// the streams yet.
func TestAMissingPermissionIsNamedAndWaitedFor(t *testing.T) { //nolint:paralleltest // it sets the environment
	address := freeAddress(t)
	path, health := joiner(t, address)
	t.Setenv("ROTATOR_NATS_CREDENTIALS_USER", "rotator")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("Pass-Word-1"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE", password)
	permit := guard(t, address, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.>"}}})
	node := start(t, "run", "--config", path)
	awaited(t, node, health, `$JS.API.STREAM.CREATE.ROTATION`)
	if n := strings.Count(node.out.String(), `"nats.waiting"`); n != 1 {
		t.Errorf("the reason is logged %d times", n)
	}
	permit(nil)
	ready(t, health)
	if code := node.drain(t); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestAProgramWaitsForWhatAnotherOneMakes starts an agent and a notifier before the
// program that makes the bucket, on a server without JetStream at first.
func TestAProgramWaitsForWhatAnotherOneMakes(t *testing.T) { //nolint:paralleltest // it sets the environment
	address := freeAddress(t)
	path, health := joiner(t, address)
	agentHealth, dir := freeAddress(t), t.TempDir()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	more := fmt.Sprintf("agent: {service: nightly, files: [{id: A, path: %q, mode: \"0400\"}]}\n", filepath.Join(dir, "A"))
	listen := strings.Replace(string(text), "http: {listen:", fmt.Sprintf("http: {agent_listen: %q, listen:", agentHealth), 1)
	if err := os.WriteFile(path, []byte(listen+more), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := serveAt(t, address, t.TempDir())
	defer stop()
	agent := &program{cmd: exec.Command(binary(t, "notifier"), "agent", "--config", path), out: &output{}, done: make(chan struct{})}
	agent.run(t)
	awaited(t, agent, agentHealth, "open bucket secrets")
	node := start(t, "run", "--config", path)
	ready(t, health)
	ready(t, agentHealth)
	for _, p := range []*program{agent, node} {
		if code := p.drain(t); code != 0 {
			t.Errorf("exit %d", code)
		}
	}
}

// TestAMistakeOfConfigurationEndsAtOnce: nothing is waited for that waiting does not
// mend.
func TestAMistakeOfConfigurationEndsAtOnce(t *testing.T) { //nolint:paralleltest // it sets the environment
	address := freeAddress(t)
	path, _ := joiner(t, address)
	creds := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(creds, []byte("no credentials"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROTATOR_NATS_CREDENTIALS_CREDS_FILE", creds)
	out, code := rotator(t, "run", "--config", path)
	if code == 0 || !strings.Contains(out, creds+" has no user") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
