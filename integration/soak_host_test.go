//go:build !race

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// The three services of the soak, by what their instances are.
const (
	soakGo    = "go"
	soakPy    = "python"
	soakAgent = "agent"
)

// soakProcess is one process of an instance.
type soakProcess struct {
	cmd  *exec.Cmd
	name string        // the instance, as it names itself on the bus; "" if it does not
	line chan string   // the first line that it prints
	done chan struct{} // closed at its end
}

// soakHost is one instance: its processes, and its lines to the bus and the store.
type soakHost struct {
	soak       *soak
	kind       string
	n          int
	specs      []secret.Spec
	bus, store *line
	dir        string

	mu      sync.Mutex // guards the fields below
	starts  int
	main    *soakProcess // answers checks
	agent   *soakProcess // beside main, nil for an instance with a client
	address string       // of main, "" while it does not answer
	faults  []soakSpan
}

// soakSpan is the time of one fault.
type soakSpan struct {
	what     string
	from, to time.Time
}

func (h *soakHost) String() string { return fmt.Sprintf("%s-%d", h.kind, h.n) }

// launch starts a process; what it logs goes to a file of the instance.
func (h *soakHost) launch(name string, cmd *exec.Cmd) (*soakProcess, error) {
	log, err := os.OpenFile(filepath.Join(h.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	p := &soakProcess{cmd: cmd, name: name, line: make(chan string, 1), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		in := bufio.NewScanner(out)
		if in.Scan() {
			p.line <- in.Text()
		}
		for in.Scan() { // to its end
		}
		_ = cmd.Wait() // what it means is in ProcessState
	}()
	return p, nil
}

// startMain starts the process that answers checks, and waits until it does.
func (h *soakHost) startMain(ctx context.Context) error {
	h.mu.Lock()
	h.starts++
	name := fmt.Sprintf("%s-start-%d", h, h.starts)
	h.mu.Unlock()
	cmd, err := h.command(name)
	if err != nil {
		return err
	}
	p, err := h.launch(name, cmd)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.main = p
	h.mu.Unlock()
	select {
	case address := <-p.line:
		h.mu.Lock()
		h.address = address
		h.mu.Unlock()
		return nil
	case <-p.done:
		return fmt.Errorf("%s has ended at its start: %v", name, p.cmd.ProcessState)
	case <-ctx.Done():
		return fmt.Errorf("%s does not answer: %w", name, ctx.Err())
	}
}

func (h *soakHost) command(name string) (*exec.Cmd, error) {
	if h.kind == soakPy {
		return h.python(name), nil
	}
	o := soakOrder{URL: h.bus.url(), Service: h.kind, Instance: name, Signer: h.soak.keys.seed, Backend: h.backend(), Specs: h.specs}
	if h.kind == soakAgent {
		o.File = h.file()
	}
	order, err := json.Marshal(o)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), soakEnv+"="+string(order))
	return cmd, err
}

func (h *soakHost) python(name string) *exec.Cmd {
	args := []string{"-c", soakPython, h.kind, name}
	for _, d := range []time.Duration{soakLease, soakFence, soakPoll} {
		args = append(args, fmt.Sprint(d.Seconds()))
	}
	var vars []string
	for _, spec := range h.specs {
		args = append(args, string(spec.ID))
		vars = append(vars, string(spec.ID)+"="+spec.StorePath())
	}
	cmd := exec.Command(h.soak.python, args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH=../clients/python/src", "ROTATOR_NATS_URL="+h.bus.url(), "ROTATOR_TRUSTED_KEYS="+h.soak.trustedKey)
	cmd.Env = append(append(cmd.Env, vars...), h.backend().environment()...)
	return cmd
}

// backend is the store behind the line of the instance.
func (h *soakHost) backend() service {
	b := h.soak.backend
	b.URL = "http://" + h.store.address()
	return b
}

func (h *soakHost) file() string { return filepath.Join(h.dir, "token") }

// startAgent starts the agent beside the program.
func (h *soakHost) startAgent() error {
	path := filepath.Join(h.dir, "agent.yaml")
	spec := h.specs[0]
	text := fmt.Sprintf("nats: {url: %q}\nnode: {data_dir: %q}\nstores: {main: {type: vault}}\nsigning: {trusted_keys: [%q]}\nsecrets:\n"+
		"  - {id: %s, ttl: 1h, fence: %s, services: [%s]}\nagent:\n  service: %s\n  poll_every: %s\n  files:\n    - {id: %s, path: %q}\n",
		h.bus.url(), h.dir, h.soak.trustedKey, spec.ID, soakFence, strings.Join(spec.Services, ", "), h.kind, soakPoll, spec.ID, h.file())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(h.soak.notifier, "agent", "--config", path)
	cmd.Env = append(os.Environ(), "ROTATOR_HTTP_AGENT_LISTEN=127.0.0.1:0", "VAULT_ADDR="+h.backend().URL, "VAULT_TOKEN="+h.soak.backend.Token)
	p, err := h.launch("", cmd)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.agent = p
	return err
}

// start starts what the instance lacks.
func (h *soakHost) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	main, agent := h.processes()
	if h.kind == soakAgent && agent == nil {
		if err := h.startAgent(); err != nil {
			return err
		}
	}
	if main == nil {
		return h.startMain(ctx)
	}
	return nil
}

func (h *soakHost) processes() (main, agent *soakProcess) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.main, h.agent
}

// end kills a process that may be stopped, and waits until it is gone.
func (p *soakProcess) end() {
	kill(p.cmd)
	<-p.done
}

// signal signals a process.
func (p *soakProcess) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// kill kills the processes that the fault names, and notes when they were gone.
func (h *soakHost) kill(which string) {
	main, agent := h.processes()
	if which != soakTheAgent {
		h.mu.Lock()
		h.main, h.address = nil, ""
		h.mu.Unlock()
		main.end()
		h.soak.killed(main.name)
	}
	if agent != nil && which != soakTheProgram {
		agent.end()
		h.mu.Lock()
		h.agent = nil
		h.mu.Unlock()
	}
}

// stop stops the processes that the fault names. The returned function continues them.
func (h *soakHost) stop(which string) (resume func() error, err error) {
	main, agent := h.processes()
	var stopped []*soakProcess
	if which != soakTheAgent {
		stopped = append(stopped, main)
	}
	if agent != nil && which != soakTheProgram {
		stopped = append(stopped, agent)
	}
	for _, p := range stopped {
		err = errors.Join(err, p.signal(syscall.SIGSTOP))
	}
	return func() error {
		var err error
		for _, p := range stopped {
			err = errors.Join(err, p.signal(syscall.SIGCONT))
		}
		return err
	}, err
}

// dial connects to the process that answers checks.
func (h *soakHost) dial(ctx context.Context) (conn net.Conn, instance string, err error) {
	h.mu.Lock()
	address, main := h.address, h.main
	h.mu.Unlock()
	if address == "" {
		return nil, "", errors.New("it does not run")
	}
	conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	return conn, main.name, err
}

// newSoakHost returns an instance that does not run.
func newSoakHost(s *soak, kind string, n int, specs []secret.Spec) *soakHost {
	s.t.Helper()
	h := &soakHost{soak: s, kind: kind, n: n, specs: specs, dir: s.t.TempDir()}
	h.bus = startLine(s.t, s.broker)
	h.store = startLineTo(s.t, strings.TrimPrefix(s.backend.URL, "http://"))
	s.t.Cleanup(func() {
		main, agent := h.processes()
		for _, p := range []*soakProcess{main, agent} {
			if p != nil {
				p.end()
			}
		}
	})
	return h
}

// logged returns the end of what the processes of an instance have logged.
func (h *soakHost) logged() string {
	b, err := os.ReadFile(filepath.Join(h.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8<<10):])
}

// buildNotifier builds the program without the race detector.
func buildNotifier(dir string) (string, error) {
	path := filepath.Join(dir, "notifier")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/notifier").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the notifier: %w: %s", err, out)
	}
	return path, nil
}

func soakTools(s *soak) {
	s.t.Helper()
	dir := s.t.TempDir()
	var err error
	if s.notifier, err = buildNotifier(dir); err != nil {
		s.t.Fatal(err)
	}
	key := filepath.Join(dir, "signing.key")
	if err := s.signer.Save(key); err != nil {
		s.t.Fatal(err)
	}
	s.python, s.trustedKey = serverstest.Tool(s.t, "python"), key+".pub"
}
