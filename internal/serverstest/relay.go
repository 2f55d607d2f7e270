package serverstest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Relay stands between a client and a server of any protocol on TCP. What the server
// sends passes a filter.
type Relay struct {
	// Address is where it listens.
	Address string

	to     string
	mu     sync.Mutex
	filter func(chunk []byte) ([]byte, bool)
}

// StartRelay starts a relay on loopback in front of the server at an address.
func StartRelay(t testing.TB, to string) *Relay {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Address: l.Addr().String(), to: to}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.relay(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return r
}

// Filter changes what the server sends, chunk by chunk as it is read. The connection
// is cut without the chunk if f returns false. Nil ends that.
func (r *Relay) Filter(f func(chunk []byte) ([]byte, bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.filter = f
}

func (r *Relay) pass(chunk []byte) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.filter == nil {
		return chunk, true
	}
	return r.filter(chunk)
}

func (r *Relay) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.to) // it ends with the client
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(server, client) // ends with either end
		_ = server.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if n > 0 {
			chunk, ok := r.pass(buf[:n])
			if !ok {
				break
			}
			if _, werr := client.Write(chunk); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = server.Close()
	_ = client.Close()
	wg.Wait()
}
