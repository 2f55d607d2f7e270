package dev

import (
	"net"
	"sync"

	"github.com/nats-io/nats.go"
)

// gate connects one process of the demo to the server, and can hold back all that
// passes between the two: what a process that is stopped, or cut off, looks like.
type gate struct {
	to nats.InProcessConnProvider

	mu   sync.Mutex
	open chan struct{} // closed while bytes pass
}

func newGate(to nats.InProcessConnProvider) *gate {
	g := &gate{to: to, open: make(chan struct{})}
	close(g.open)
	return g
}

// hold stops what passes, or lets it pass again.
func (g *gate) hold(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if held := g.heldLocked(); on && !held {
		g.open = make(chan struct{})
	} else if !on && held {
		close(g.open)
	}
}

func (g *gate) held() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heldLocked()
}

// heldLocked is held; g.mu is held.
func (g *gate) heldLocked() bool {
	select {
	case <-g.open:
		return false
	default:
		return true
	}
}

func (g *gate) wait() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	<-open
}

// InProcessConn implements [nats.InProcessConnProvider].
func (g *gate) InProcessConn() (net.Conn, error) {
	g.wait()
	c, err := g.to.InProcessConn()
	return heldConn{c, g}, err
}

type heldConn struct {
	net.Conn
	g *gate
}

func (c heldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.g.wait()
	return n, err
}

func (c heldConn) Write(p []byte) (int, error) {
	c.g.wait()
	return c.Conn.Write(p)
}
