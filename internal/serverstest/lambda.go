package serverstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Lambda runs a bootstrap as AWS Lambda does, over the Runtime API that AWS
// documents: one process at a time, which gets one invocation after the other;
// killed by SIGKILL when it takes too long, and started again for the next
// invocation once it has ended.
type Lambda struct {
	t         testing.TB
	bootstrap string
	env       []string
	api       *httptest.Server
	out       *os.File // written to by the processes themselves: what they print is there before they answer

	mu       sync.Mutex
	process  *lambdaProcess
	starts   int
	requests int
}

// lambdaProcess is one execution environment.
type lambdaProcess struct {
	cmd   *exec.Cmd
	begin time.Time
	done  chan struct{}       // closed at its end
	next  chan invocation     // handed out by the API
	reply chan invocationDone // what the process answered
	ready chan time.Duration  // since its start, once it has asked for work
}

type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
}

type invocationDone struct {
	id     string
	answer []byte
	failed bool
}

// The ways in which an invocation fails.
var (
	// ErrTimedOut: the process was killed because it took too long.
	ErrTimedOut = errors.New("task timed out")
	// ErrExited: the process ended before it answered.
	ErrExited = errors.New("the runtime exited")
)

// FunctionError is what a function says when it fails.
type FunctionError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

func (e FunctionError) Error() string { return e.Type + ": " + e.Message }

// NewLambda returns a function whose bootstrap runs with the given variables, in
// the form of os.Environ, and no other but those that AWS sets. No process runs
// before the first invocation.
func NewLambda(t testing.TB, bootstrap string, env ...string) *Lambda {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(t.TempDir(), "output"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l := &Lambda{t: t, bootstrap: bootstrap, env: env, out: out}
	mux := http.NewServeMux()
	const base = "/2018-06-01/runtime/"
	mux.HandleFunc("GET "+base+"invocation/next", l.serveNext)
	mux.HandleFunc("POST "+base+"invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) { l.serveReply(w, r, false) })
	mux.HandleFunc("POST "+base+"invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) { l.serveReply(w, r, true) })
	l.api = httptest.NewServer(mux)
	t.Cleanup(func() {
		l.Kill()
		l.api.CloseClientConnections()
		l.api.Close()
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Output returns all that the processes have printed.
func (l *Lambda) Output() string {
	b, err := os.ReadFile(l.out.Name())
	if err != nil {
		l.t.Error(err)
	}
	return string(b)
}

// Starts returns how many processes there have been.
func (l *Lambda) Starts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.starts
}

// Kill ends the process as SIGKILL does, if there is one.
func (l *Lambda) Kill() {
	l.mu.Lock()
	p := l.process
	l.mu.Unlock()
	if p != nil {
		_ = p.cmd.Process.Kill() // fails only when it has ended
		<-p.done
	}
}

// Start starts a process if none runs and returns how long it took until it
// asked for its first invocation.
func (l *Lambda) Start() (time.Duration, error) {
	p := l.running()
	select {
	case d := <-p.ready:
		p.ready <- d
		return d, nil
	case <-p.done:
		return 0, ErrExited
	}
}

// Invoke has the function handle a payload. The error is ErrTimedOut, ErrExited
// or a [FunctionError].
func (l *Lambda) Invoke(payload string, timeout time.Duration) (string, error) {
	p := l.running()
	l.mu.Lock()
	l.requests++
	inv := invocation{id: fmt.Sprintf("00000000-0000-4000-8000-%012d", l.requests), payload: []byte(payload), deadline: time.Now().Add(timeout)}
	l.mu.Unlock()
	late := time.NewTimer(timeout)
	defer late.Stop()
	handed := p.next
	for {
		select {
		case handed <- inv:
			handed = nil
		case d := <-p.reply:
			if d.id == inv.id {
				return result(d)
			}
		case <-p.done:
			return "", ErrExited
		case <-late.C:
			l.Kill()
			return "", ErrTimedOut
		}
	}
}

func result(d invocationDone) (string, error) {
	if !d.failed {
		return string(d.answer), nil
	}
	var e FunctionError
	if err := json.Unmarshal(d.answer, &e); err != nil {
		return "", err
	}
	return "", e
}

// running returns the process that runs, a new one if the last has ended.
func (l *Lambda) running() *lambdaProcess {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.process != nil {
		select {
		case <-l.process.done:
		default:
			return l.process
		}
	}
	p := &lambdaProcess{
		cmd: exec.Command(l.bootstrap), begin: time.Now(), done: make(chan struct{}),
		next: make(chan invocation), reply: make(chan invocationDone), ready: make(chan time.Duration, 1),
	}
	p.cmd.Dir = filepath.Dir(l.bootstrap)
	p.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "TZ=:UTC", "LAMBDA_TASK_ROOT=" + p.cmd.Dir, "_HANDLER=bootstrap", "AWS_LAMBDA_RUNTIME_API=" + l.api.Listener.Addr().String(),
		"AWS_LAMBDA_FUNCTION_NAME=rotator", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_REGION=eu-central-1", "AWS_DEFAULT_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=test",
	}, l.env...)
	p.cmd.Stdout, p.cmd.Stderr = l.out, l.out
	if err := p.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // it is killed in the end
	}()
	l.process = p
	l.starts++
	return p
}

// current returns the process that calls the API: there is only one.
func (l *Lambda) current() *lambdaProcess {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.process
}

func (l *Lambda) serveNext(w http.ResponseWriter, r *http.Request) {
	p := l.current()
	select {
	case p.ready <- time.Since(p.begin):
	default: // it has asked before
	}
	select {
	case inv := <-p.next:
		h := w.Header()
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:rotator")
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
		h.Set("Content-Type", "application/json")
		_, _ = w.Write(inv.payload)
	case <-r.Context().Done():
	case <-p.done:
	}
}

func (l *Lambda) serveReply(w http.ResponseWriter, r *http.Request, failed bool) {
	p := l.current()
	answer, err := io.ReadAll(r.Body)
	if err != nil {
		return // the process has ended amid its answer
	}
	w.WriteHeader(http.StatusAccepted)
	select {
	case p.reply <- invocationDone{id: r.PathValue("id"), answer: answer, failed: failed}:
	case <-p.done:
	case <-r.Context().Done():
	}
}
