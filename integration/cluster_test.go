package integration

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// clustered is a process of ours on a server of a cluster.
type clustered struct {
	nc  *nats.Conn
	bus *events.Bus
	st  *store.Store
}

// clusterSide returns a process with a connection, a bus and an embedded store of
// its own; the first one makes streams and bucket.
func clusterSide(tb testing.TB, nc *nats.Conn, signer *events.Signer, replicas int) clustered {
	tb.Helper()
	quiet := slog.New(slog.DiscardHandler)
	bus, err := events.New(nc, events.Config{Source: "/test", Signer: signer, Verifier: events.NewVerifier(signer.Public()), Logger: quiet})
	if err != nil {
		tb.Fatal(err)
	}
	if err := bus.EnsureStreams(tb.Context(), events.StreamOptions{Replicas: replicas}); err != nil {
		tb.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	d, err := natskv.Open(tb.Context(), natskv.Config{JS: js, Replicas: replicas, MasterKey: make([]byte, natskv.MasterKeySize)})
	if err != nil {
		tb.Fatal(err)
	}
	st, err := store.New("main", d, &store.Options{Circuit: store.Circuit{Failures: -1}, Logger: quiet})
	if err != nil {
		tb.Fatal(err)
	}
	return clustered{nc: nc, bus: bus, st: st}
}

// worker returns a worker for secrets that it makes itself.
func (c clustered) worker(tb testing.TB, ids ...secret.ID) *rotation.Rotator {
	tb.Helper()
	var specs []secret.Spec
	for _, id := range ids {
		specs = append(specs, secret.Spec{ID: id, Store: "main", Create: true, TTL: time.Hour, Fence: time.Millisecond})
	}
	managed, err := manage(specs, c.st)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := rotation.New(rotation.Config{Catalog: managed, Stores: managed.stores, Bus: c.bus, Timers: c.bus, Source: "/test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// rotateOnce rotates a secret away from its current version and checks that
// this made one version.
func (c clustered) rotateOnce(ctx context.Context, r *rotation.Rotator, id secret.ID, from secret.VersionID, nth int) (secret.VersionID, error) {
	out, err := r.Rotate(ctx, rotation.Try{Request: rotation.Request{Secret: id, From: from, Reason: events.ReasonManual}})
	if err != nil {
		return "", fmt.Errorf("%s, rotation %d: %w (final: %t)", id, nth, err, events.IsPermanent(err))
	}
	m, err := c.st.Describe(ctx, string(id))
	if err != nil {
		return "", err
	}
	if out != rotation.OutcomeRotated || len(m.Versions) != nth || m.Current().ID == from {
		return "", fmt.Errorf("%s: rotation %d is %s, and there are %d versions", id, nth, out, len(m.Versions))
	}
	return m.Current().ID, nil
}

// noneFailed checks that no rotation was given up.
func noneFailed(t *testing.T, nc *nats.Conn) {
	t.Helper()
	for id, failed := range logOf(t, nc, events.TypeRotationFailed) {
		t.Errorf("%s was given up %d times", id, len(failed))
	}
}

// TestRotationsOnACluster lets eight workers on three servers make the first
// versions of secrets as fast as they can. Then every core and the disk have
// something else to do, and one server, which leads no stream, is paused again and
// again: it answers direct gets late and from the past. Each rotation succeeds at
// the first try.
func TestRotationsOnACluster(t *testing.T) {
	t.Parallel()
	cluster := serverstest.StartCluster(t)
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	var sides []clustered
	for i := range serverstest.ClusterSize - 1 {
		sides = append(sides, clusterSide(t, cluster.Connect(i), signer, serverstest.ClusterSize))
	}
	names := events.Names{}
	for _, stream := range []string{names.RotationStream(), names.RotatedStream(), "KV_" + natskv.DefaultBucket} {
		cluster.Lead(sides[0].nc, stream, 0)
	}
	firstRotations(t, sides, "IDLE", 480)
	defer busy(t)()
	defer pausing(cluster, serverstest.ClusterSize-1)()
	firstRotations(t, sides, "BUSY", 160)
	noneFailed(t, sides[0].nc)
}

// firstRotations makes the first version of n secrets with eight workers at once.
func firstRotations(t *testing.T, sides []clustered, prefix string, n int) {
	t.Helper()
	const workers = 8
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		side, mine := sides[w%len(sides)], ids(fmt.Sprint(prefix, w), n/workers)
		r := side.worker(t, mine...)
		wg.Go(func() {
			for _, id := range mine {
				if _, err := side.rotateOnce(t.Context(), r, id, "", 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%s: %d rotations in %s", prefix, n, time.Since(begin).Round(time.Millisecond))
}

// pausing stops a server for a while, again and again, until stop is called.
func pausing(c *serverstest.Cluster, i int) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, do := range []func(int){c.Stop, c.Continue} {
				do(i)
				select {
				case <-tick.C:
				case <-end:
					c.Continue(i)
					return
				}
			}
		}
	})
	return func() { close(end); wg.Wait() }
}

// continueAfter lets a stopped server go on after a while.
func continueAfter(c *serverstest.Cluster, i int) {
	<-time.After(1500 * time.Millisecond)
	c.Continue(i)
}

// busy keeps every core and the disk busy until stop is called.
func busy(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			block := make([]byte, 64<<10)
			for ctx.Err() == nil {
				sum := sha256.Sum256(block)
				copy(block, sum[:])
			}
		})
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "busy"))
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		block := make([]byte, 1<<20)
		for ctx.Err() == nil {
			if _, err := f.WriteAt(block, 0); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			if err := f.Sync(); err != nil {
				t.Errorf("sync: %v", err)
				return
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
