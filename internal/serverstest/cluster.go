package serverstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
)

// ClusterSize is how many servers a [Cluster] has.
const ClusterSize = 3

// Cluster is three nats-servers with JetStream, each a process of its own, that
// sync every write. They are of the version that go.mod names.
type Cluster struct {
	t       testing.TB
	program string
	nodes   [ClusterSize]clusterNode
	routes  [ClusterSize][ClusterSize]*route // from, to; nil from a server to itself
}

type clusterNode struct {
	name, url, monitor, config, dir string
	process                         *process
}

// StartCluster builds the server, starts three, and waits until they hold a stream
// with three replicas. They end with the test.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	dir := t.TempDir()
	c := &Cluster{t: t, program: filepath.Join(dir, "nats-server")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.program, "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	c.configure(dir)
	for i := range c.nodes {
		c.Restart(i)
	}
	c.awaitReady()
	return c
}

// configure writes the files of the servers. Each reaches each other one through a
// route of its own, and none tells of an address that goes past them.
func (c *Cluster) configure(dir string) {
	c.t.Helper()
	var listen [ClusterSize]string
	for i := range c.nodes {
		listen[i] = fmt.Sprintf("127.0.0.1:%d", FreePort(c.t))
	}
	nowhere := fmt.Sprintf("127.0.0.1:%d", FreePort(c.t))
	for i := range c.nodes {
		var others []string
		for j := range c.nodes {
			if i != j {
				c.routes[i][j] = startRoute(c.t, listen[j])
				others = append(others, "nats://"+c.routes[i][j].listen.Addr().String())
			}
		}
		n := &c.nodes[i]
		port, monitor := FreePort(c.t), FreePort(c.t)
		n.name, n.url, n.monitor = fmt.Sprint("n", i), fmt.Sprintf("nats://127.0.0.1:%d", port), loopback(monitor)
		n.config, n.dir = filepath.Join(dir, fmt.Sprintf("n%d.conf", i)), filepath.Join(dir, n.name)
		text := fmt.Sprintf(`server_name: %s
listen: 127.0.0.1:%d
http: 127.0.0.1:%d
jetstream { store_dir: %q, sync_interval: always }
cluster { name: test, listen: %q, advertise: %q, routes: [%s] }
`, n.name, port, monitor, n.dir, listen[i], nowhere, strings.Join(others, ", "))
		if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
}

// awaitReady makes a stream with three replicas and waits until all are current.
func (c *Cluster) awaitReady() {
	c.t.Helper()
	js := c.jetStream(c.Connect(0))
	c.eventually(func(ctx context.Context) error {
		s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "READY", Subjects: []string{"ready"}, Replicas: ClusterSize})
		if err != nil {
			return err
		}
		return current(s.CachedInfo())
	})
	if err := js.DeleteStream(c.t.Context(), "READY"); err != nil {
		c.t.Fatal(err)
	}
}

// current returns an error unless every replica of a stream is current.
func current(info *jetstream.StreamInfo) error {
	if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != ClusterSize-1 {
		return fmt.Errorf("its replicas: %+v", info.Cluster)
	}
	for _, r := range info.Cluster.Replicas {
		if !r.Current || r.Offline {
			return fmt.Errorf("%s is not current", r.Name)
		}
	}
	return nil
}

// eventually calls do until it succeeds.
func (c *Cluster) eventually(do func(context.Context) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		try, done := context.WithTimeout(ctx, 2*time.Second)
		err := do(try)
		done()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("the cluster is not ready: %v\n%s", err, c.nodes[0].process.out)
		}
	}
}

// URL returns where a server listens for clients.
func (c *Cluster) URL(i int) string { return c.nodes[i].url }

// Connect returns a connection to one server, and to no other later, that ends with
// the test.
func (c *Cluster) Connect(i int) *nats.Conn {
	c.t.Helper()
	nc, err := nats.Connect(c.nodes[i].url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.IgnoreDiscoveredServers())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	return nc
}

func (c *Cluster) jetStream(nc *nats.Conn) jetstream.JetStream {
	c.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	return js
}

// Leader returns the server that leads a stream, as the server nc is connected to
// has it.
func (c *Cluster) Leader(nc *nats.Conn, stream string) int {
	c.t.Helper()
	js, leader := c.jetStream(nc), -1
	c.eventually(func(ctx context.Context) error {
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		for i, n := range c.nodes {
			if info := s.CachedInfo().Cluster; info != nil && n.name == info.Leader {
				leader = i
				return nil
			}
		}
		return fmt.Errorf("stream %s has no leader", stream)
	})
	return leader
}

// Lead makes a server the leader of a stream.
func (c *Cluster) Lead(nc *nats.Conn, stream string, i int) {
	c.t.Helper()
	c.eventually(func(ctx context.Context) error {
		if c.Leader(nc, stream) == i {
			return nil
		}
		_, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, fmt.Appendf(nil, `{"placement": {"preferred": %q}}`, c.nodes[i].name))
		return errors.Join(err, fmt.Errorf("%s does not lead stream %s yet", c.nodes[i].name, stream))
	})
}

// Stop stops a server until Continue, as a paused machine is: its connections
// stay.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	waittest.Stop(c.t, c.nodes[i].process.cmd.Process)
}

// Continue lets a server that was stopped go on.
func (c *Cluster) Continue(i int) { c.signal(i, syscall.SIGCONT) }

func (c *Cluster) signal(i int, s os.Signal) {
	c.t.Helper()
	if err := c.nodes[i].process.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("%v to %s: %v", s, c.nodes[i].name, err)
	}
}

// Restart starts a server on the files that it had.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.nodes[i].process = run(c.t, exec.Command(c.program, "-c", c.nodes[i].config))
}
