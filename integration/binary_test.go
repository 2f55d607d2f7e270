package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
)

// program is one of the built programs, running.
type program struct {
	cmd  *exec.Cmd
	out  *output
	done chan struct{} // closed at its end
}

// output collects what a program prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	return startWith(t, nil, args...)
}

// startWith is start with more environment.
func startWith(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(binary(t, "rotator"), args...), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.run(t)
	return p
}

func (p *program) run(t *testing.T) {
	t.Helper()
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // what it means is in ProcessState
	}()
	t.Cleanup(func() {
		kill(p.cmd)
		<-p.done
		if t.Failed() {
			t.Logf("%q printed:\n%s", p.cmd.Args, p.out)
		}
	})
}

// drain asks the program to end and returns its exit code.
func (p *program) drain(t *testing.T) int {
	t.Helper()
	terminate(t, p.cmd)
	return p.wait(t)
}

// wait waits until the program has ended and returns its exit code.
func (p *program) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(5 * time.Minute):
		t.Fatalf("%q does not end:\n%s", p.cmd.Args, p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// rotator runs the program to its end and returns what it printed.
func rotator(t *testing.T, args ...string) (string, int) {
	t.Helper()
	p := start(t, args...)
	code := p.wait(t)
	return p.out.String(), code
}

// freeAddress returns a loopback address that no program listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", serverstest.FreePort(t))
}

// singleNode writes the configuration of a single node and returns its path
// and the address of its health.
func singleNode(t *testing.T, secrets string) (path, health string) {
	t.Helper()
	dir := t.TempDir()
	health = freeAddress(t)
	text := fmt.Sprintf("node: {data_dir: %q, listen: %q}\nhttp: {listen: %q}\nlog: {format: json, level: debug}\nstores: {main: {type: natskv}}\ndefaults: {no_subscribers: hold}\nsecrets:\n%s",
		filepath.Join(dir, "data"), freeAddress(t), health, secrets)
	path = filepath.Join(dir, "rotator.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, health
}

func ready(t *testing.T, health string) {
	t.Helper()
	waittest.Until(t, "the program is ready", func() error { return get(t, "http://"+health+"/readyz", nil) })
}

// get fetches a page into body and fails unless it is 200.
func get(t *testing.T, url string, body *string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if body != nil {
		*body = string(b)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, b)
	}
	return nil
}

// TestDevIsClean runs the README's first command for some seconds.
func TestDevIsClean(t *testing.T) {
	t.Parallel()
	out, code := rotator(t, "dev", "--for", "14s", "--ttl", "6s", "--json")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var sum struct {
		Rotations, Rotated, Notified, Applied, Failed, Converged, Retired int
		NearExpiry                                                        int                        `json:"near_expiry"`
		Latency                                                           struct{ P50, P99 float64 } `json:"reload_latency_ms"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil {
		t.Fatalf("the last line is no object: %v", err)
	}
	if sum.Rotations < 6 || sum.Rotated != sum.Rotations || sum.Converged < 4 || sum.Retired < 2 || sum.Failed != 0 || sum.Applied < sum.Converged || sum.Latency.P99 <= 0 {
		t.Errorf("summary %+v\n%s", sum, out)
	}
}

// TestSingleNode runs a node as a user would: it makes its keys and secrets,
// shows them, rotates by hand, drains, and comes back with what it had.
func TestSingleNode(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: api/key, store: main, ttl: 1h, create: true}\n  - {id: api/token, store: main, ttl: 1d, create: true}\n")
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	var before []struct {
		SecretID  string `json:"secret_id"`
		VersionID string `json:"version_id"`
		Armed     bool
	}
	waittest.Until(t, "every secret has a version and a timer", func() error {
		out, code := rotator(t, "status", "--config", cfg, "--json")
		if err := json.Unmarshal([]byte(out), &before); err != nil || code != 0 {
			return fmt.Errorf("status: exit %d, %w: %s", code, err, out)
		}
		for _, s := range before {
			if s.VersionID == "" || !s.Armed {
				return fmt.Errorf("%s has version %q, armed %t", s.SecretID, s.VersionID, s.Armed)
			}
		}
		return nil
	})
	out, code := rotator(t, "rotate", "api/key", "--config", cfg)
	if code != 0 || !strings.Contains(out, before[0].VersionID+" → ") {
		t.Errorf("rotate: exit %d: %s", code, out)
	}
	if out, code := rotator(t, "plan", "--config", cfg); code != 0 || !strings.Contains(out, "scheduled") {
		t.Errorf("plan: exit %d: %s", code, out)
	}
	if out, code := rotator(t, "rotate", "api/kez", "--config", cfg); code != 1 || !strings.Contains(out, "not configured") {
		t.Errorf("rotating what is not there: exit %d: %s", code, out)
	}
	var metrics string
	if err := get(t, "http://"+health+"/metrics", &metrics); err != nil || !strings.Contains(metrics, "secret_near_expiry") || !strings.Contains(metrics, "secret_access") {
		t.Errorf("metrics: %v", err)
	}
	if code := node.drain(t); code != 0 || !strings.Contains(node.out.String(), "rotator.drained") {
		t.Errorf("drain: exit %d", code)
	}
	again := start(t, "run", "--config", cfg)
	ready(t, health)
	out, _ = rotator(t, "status", "api/token", "--config", cfg, "--json")
	if !strings.Contains(out, before[1].VersionID) {
		t.Errorf("after a restart the version is another: %s", out)
	}
	again.drain(t)
}

// TestUnreachableBus starts a worker and a notifier whose bus is not there:
// they say so, are not ready, and go on once it is.
func TestUnreachableBus(t *testing.T) {
	t.Parallel()
	dir, health := t.TempDir(), freeAddress(t)
	path := filepath.Join(dir, "rotator.yaml")
	text := fmt.Sprintf("nats: {url: %q}\nnode: {data_dir: %q}\nhttp: {listen: %q}\nlog: {format: json}\n", "nats://"+freeAddress(t), dir, health)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	node := start(t, "run", "--config", path)
	waittest.Until(t, "the node says why it waits", func() error {
		err := get(t, "http://"+health+"/readyz", nil)
		if out := node.out.String(); !strings.Contains(out, "nats.unreachable") || err == nil || !strings.Contains(err.Error(), "no servers available") {
			return fmt.Errorf("readyz: %w\n%s", err, out)
		}
		return nil
	})
	if err := get(t, "http://"+health+"/readyz", nil); err == nil || !strings.Contains(err.Error(), "not connected yet") {
		t.Errorf("readyz: %v, want 503 with a reason", err)
	}
	if err := get(t, "http://"+health+"/healthz", nil); err != nil {
		t.Errorf("healthz: %v", err)
	}
	waittest.Until(t, "the status page says so", func() error {
		var page string
		if err := get(t, "http://"+health+"/?format=txt", &page); err != nil || !strings.Contains(page, "nats: not connected yet") || !strings.Contains(page, "the secrets cannot be read") {
			return fmt.Errorf("%w: %s", err, page)
		}
		return nil
	})
	if code := node.drain(t); code != 0 {
		t.Errorf("exit %d:\n%s", code, node.out)
	}
}

// TestNoValueLeaves searches every byte that a node leaves anywhere for the
// values that it made: output with its traces, metrics, the dump of all
// goroutines when it is made to die, the folders of the server.
func TestNoValueLeaves(t *testing.T) {
	t.Parallel()
	// Values are forty characters of an alphabet that nothing else uses, so that
	// any run of twelve of them is a leak.
	cfg, health := singleNode(t, `  - {id: canary, store: main, ttl: 6s, refresh_margin: 4s, grace: 1s, create: true,
     policy: {alphabet: "QXZJWKVqxzjwkv", classes: [], length: 40, min_length: 40}}
`)
	node := startWith(t, []string{"OTEL_TRACES_EXPORTER=console"}, "run", "--config", cfg)
	ready(t, health)
	rotated(t, node, 3)
	var metrics string
	if err := get(t, "http://"+health+"/metrics", &metrics); err != nil {
		t.Fatal(err)
	}
	status, _ := rotator(t, "status", "--config", cfg, "--json")
	node.drain(t)
	if !strings.Contains(node.out.String(), `"Name":"rotation"`) {
		t.Errorf("the output has no span of a rotation:\n%s", node.out)
	}
	dying := startWith(t, []string{"GOTRACEBACK=system"}, "run", "--config", cfg)
	rotated(t, dying, 1)
	if err := dying.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	dying.wait(t)
	if !strings.Contains(dying.out.String(), "goroutine 1 ") {
		t.Errorf("it died without a dump:\n%s", dying.out)
	}
	leak := regexp.MustCompile(`[QXZJWKVqxzjwkv]{12}`)
	if !strings.Contains(status, `"canary"`) || !strings.Contains(metrics, "rotator_") {
		t.Errorf("nothing to search: the status is %q, of metrics there are %d bytes", status, len(metrics))
	}
	for name, text := range map[string]string{"output": node.out.String(), "dump": dying.out.String(), "metrics": metrics, "status": status} {
		if leak.MatchString(text) {
			t.Errorf("%s holds a value", name)
		}
	}
	files := 0
	err := filepath.WalkDir(filepath.Dir(cfg), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == cfg {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		if leak.Match(b) {
			t.Errorf("%s holds a value", path)
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("searched %d files: %v", files, err)
	}
}

// rotated waits until a node has said so n times.
func rotated(t *testing.T, node *program, n int) {
	t.Helper()
	waittest.Until(t, "the node has rotated", func() error {
		if got := strings.Count(node.out.String(), `"msg":"secret.rotated"`); got < n {
			return fmt.Errorf("%d rotations:\n%s", got, node.out)
		}
		return nil
	})
}
