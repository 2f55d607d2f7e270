//go:build browser

package statuspage

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// browser is a headless Chromium that is spoken to in its DevTools protocol over pipes.
type browser struct {
	t    *testing.T
	in   *os.File
	out  *bufio.Reader
	last int
	// events are those that were not awaited, said what the pages and the browser logged.
	events []message
	said   []string
}

type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    any             `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
}

// launch starts the browser, which ends with the test.
func launch(t *testing.T, program string) *browser {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%v; install it (apt-get install chromium), or name another browser of its kind with -page.chromium", err)
	}
	fromUs, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, toUs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// No sandbox: a container has no right to make one, and the page is ours.
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{fromUs, toUs}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = fromUs.Close(), toUs.Close()
	b := &browser{t: t, in: in, out: bufio.NewReaderSize(out, 1<<20)}
	t.Cleanup(func() {
		b.t = t
		b.call("", "Browser.close", nil, nil)
		_ = cmd.Wait()
		_, _ = in.Close(), out.Close()
	})
	return b
}

// call calls a method of the protocol and waits for its result.
func (b *browser) call(session, method string, params, out any) {
	b.t.Helper()
	b.last++
	id := b.last
	text, err := json.Marshal(message{ID: id, SessionID: session, Method: method, Params: params})
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		m := b.read()
		if m.ID != id {
			b.events = append(b.events, m)
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error)
		}
		if out != nil {
			if err := json.Unmarshal(m.Result, out); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// await waits for an event of a session.
func (b *browser) await(session, method string) {
	b.t.Helper()
	for len(b.events) > 0 {
		m := b.events[0]
		b.events = b.events[1:]
		if m.SessionID == session && m.Method == method {
			return
		}
	}
	for {
		if m := b.read(); m.SessionID == session && m.Method == method {
			return
		}
	}
}

// read returns the next message.
func (b *browser) read() message {
	b.t.Helper()
	text, err := b.out.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("the browser has ended: %v", err)
	}
	var m message
	if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
		b.t.Fatal(err)
	}
	if m.Method == "Log.entryAdded" || m.Method == "Runtime.exceptionThrown" {
		b.said = append(b.said, string(text[:len(text)-1]))
	}
	return m
}
