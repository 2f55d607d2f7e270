package serverstest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// route carries the bytes of one server to another one, unless it is cut.
type route struct {
	to     string
	listen net.Listener

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

// startRoute listens on loopback and connects with the server at to, until the end
// of the test.
func startRoute(t testing.TB, to string) *route {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &route{to: to, listen: l, conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() {
		_ = l.Close() // which ends serve
		r.set(true)
	})
	go r.serve(t.Context())
	return r
}

func (r *route) serve(ctx context.Context) {
	for {
		c, err := r.listen.Accept()
		if err != nil {
			return
		}
		go r.carry(ctx, c)
	}
}

func (r *route) carry(ctx context.Context, from net.Conn) {
	defer from.Close()
	to, err := new(net.Dialer).DialContext(ctx, "tcp", r.to)
	if err != nil {
		return // that server is down
	}
	defer to.Close()
	if !r.add(from, to) {
		return
	}
	defer r.remove(from, to)
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[1], pair[0]) // it ends with either connection
			_, _ = pair[0].Close(), pair[1].Close()
		})
	}
	wg.Wait()
}

// add notes connections, and returns false if the route is cut.
func (r *route) add(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.conns[c] = struct{}{}
	}
	return !r.cut
}

func (r *route) remove(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.conns, c)
	}
}

// set cuts the route or lets it work again.
func (r *route) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	for c := range r.conns {
		if cut {
			_ = c.Close() // both ends see that
		}
	}
}

// Split ends the connections between two servers until Heal. Their clients stay.
func (c *Cluster) Split(i, j int) {
	c.routes[i][j].set(true)
	c.routes[j][i].set(true)
}

// Isolate splits a server from the others until Heal.
func (c *Cluster) Isolate(i int) {
	for j := range c.nodes {
		if j != i {
			c.Split(i, j)
		}
	}
}

// Heal ends every Split.
func (c *Cluster) Heal() {
	for i := range c.routes {
		for _, r := range c.routes[i] {
			if r != nil {
				r.set(false)
			}
		}
	}
}

// Kill ends a server as SIGKILL does. It has no connection afterwards.
func (c *Cluster) Kill(i int) { c.nodes[i].process.kill() }

// Wipe removes the files of a server that was killed.
func (c *Cluster) Wipe(i int) {
	c.t.Helper()
	if err := os.RemoveAll(c.nodes[i].dir); err != nil {
		c.t.Fatal(err)
	}
}

// AwaitCurrent waits until a server knows every replica of the streams to be current.
func (c *Cluster) AwaitCurrent(nc *nats.Conn, streams ...string) {
	c.t.Helper()
	js := c.jetStream(nc)
	c.eventually(func(ctx context.Context) error {
		for _, stream := range streams {
			s, err := js.Stream(ctx, stream)
			if err == nil {
				err = current(s.CachedInfo())
			}
			if err != nil {
				return fmt.Errorf("stream %s: %w", stream, err)
			}
		}
		return nil
	})
}

// AwaitDirect waits until each server answers direct gets of the streams: a follower
// begins some seconds after it has caught up.
func (c *Cluster) AwaitDirect(streams ...string) {
	c.t.Helper()
	c.eventually(func(ctx context.Context) error {
		for _, n := range c.nodes {
			have, err := n.subjects(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			for _, stream := range streams {
				if !have["$JS.API.DIRECT.GET."+stream+".>"] {
					return fmt.Errorf("%s does not answer for stream %s", n.name, stream)
				}
			}
		}
		return nil
	})
}

// subjects returns the subjects to which the server itself and its clients subscribe.
func (n clusterNode) subjects(ctx context.Context) (map[string]bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.monitor+"/subsz?subs=1&acc=$G&limit=10000", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var found struct {
		List []struct {
			Subject string `json:"subject"`
		} `json:"subscriptions_list"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, s := range found.List {
		have[s.Subject] = true
	}
	return have, nil
}
