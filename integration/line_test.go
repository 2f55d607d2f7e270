package integration

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// line carries bytes to a server, and can be held up.
type line struct {
	to     string // where the server listens
	listen net.Listener
	mu     sync.Mutex
	open   chan struct{} // closed while bytes pass
}

func startLine(t *testing.T, b *broker) *line {
	t.Helper()
	return startLineTo(t, b.server.Load().Addr().String())
}

func startLineTo(t *testing.T, address string) *line {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := &line{to: address, listen: l, open: make(chan struct{})}
	close(out.open)
	t.Cleanup(func() { _ = l.Close() })
	go out.serve(t.Context())
	return out
}

func (l *line) url() string { return "nats://" + l.address() }

func (l *line) address() string { return l.listen.Addr().String() }

func (l *line) pause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

func (l *line) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.open)
}

// passes waits until bytes pass, and returns false when ctx ends before.
func (l *line) passes(ctx context.Context) bool {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	select {
	case <-open:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *line) serve(ctx context.Context) {
	for {
		c, err := l.listen.Accept()
		if err != nil {
			return
		}
		go l.carry(ctx, c)
	}
}

// carry connects c with the server until either end is closed or ctx ends.
func (l *line) carry(ctx context.Context, c net.Conn) {
	defer c.Close()
	if !l.passes(ctx) {
		return
	}
	to, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.to)
	if err != nil {
		return // the server is down, and the client tries again
	}
	defer to.Close()
	defer context.AfterFunc(ctx, func() { _, _ = c.Close(), to.Close() })()
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{c, to}, {to, c}} {
		wg.Go(func() {
			defer pair[1].Close()
			l.copy(ctx, pair[1], pair[0])
		})
	}
	wg.Wait()
}

func (l *line) copy(ctx context.Context, to io.Writer, from io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if !l.passes(ctx) {
			return
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}
