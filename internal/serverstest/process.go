package serverstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// startTimeout bounds the start of a server on a machine that is busy.
const startTimeout = time.Minute

// BaoVariable names a program to use in place of the OpenBao server, such as the
// vault of HashiCorp, which takes the same arguments.
const BaoVariable = "ROTATOR_TEST_BAO"

// Tool returns the path of a program in the repository's virtual environment.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if other := os.Getenv(BaoVariable); name == "bao" && other != "" {
		return other
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		path := filepath.Join(dir, ".venv", "bin", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatalf("there is no .venv/bin/%s: run 'go tool task tools:python' first", name)
		}
		dir = parent
	}
}

// process is a server that runs.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *lockedBuffer
	done chan struct{} // closed at its end
}

func run(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, out: &lockedBuffer{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // it is killed in the end
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the server as SIGKILL does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.done
}

// await waits until url answers with a status that ok accepts.
func (p *process) await(url string, ok func(status int) bool) {
	p.t.Helper()
	p.awaitAs("", url, ok)
}

// awaitAs is await with a token of OpenBao.
func (p *process) awaitAs(token, url string, ok func(status int) bool) {
	p.t.Helper()
	deadline := time.Now().Add(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := probe(p.t.Context(), token, url)
		if err == nil && ok(status) {
			return
		}
		select {
		case <-p.done:
			p.t.Fatalf("%s has ended:\n%s", p.cmd.Path, p.out)
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s does not answer: status %d, err %v\n%s", p.cmd.Path, status, err, p.out)
		}
	}
}

func probe(ctx context.Context, token, url string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// reserved holds the ports that FreePort has returned in this process.
var reserved sync.Map // :: int → struct{}

// FreePort returns a port of loopback for a server that is about to start. The
// system gives ports from 32768 to connections and to listeners that ask for any:
// one of those may be taken again before the server listens.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		var b [2]byte
		_, _ = rand.Read(b[:]) // never fails
		port := 10_000 + int(binary.BigEndian.Uint16(b[:]))%20_000
		if _, ok := reserved.LoadOrStore(port, struct{}{}); ok {
			continue
		}
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port of loopback is free between 10000 and 30000")
	return 0
}

// lockedBuffer collects what a server prints.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func loopback(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
