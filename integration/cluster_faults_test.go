package integration

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

var clusterRotations = flag.Int("cluster.rotations", 60, "how many rotations TestClusterUnderFaults makes, 20 of them under each fault")

// clusterFault is what happens to three servers, of which the first leads every stream.
type clusterFault struct {
	name       string
	begin, end func(*serverstest.Cluster)
}

// clusterFaults are in the order in which they happen. The first three are in every run.
var clusterFaults = []clusterFault{
	{"a follower is paused", func(c *serverstest.Cluster) { c.Stop(2) }, func(c *serverstest.Cluster) { c.Continue(2) }},
	{"the leader is killed", func(c *serverstest.Cluster) { c.Kill(0) }, func(c *serverstest.Cluster) { c.Restart(0) }},
	{"a server is cut off, with workers on it", func(c *serverstest.Cluster) { c.Isolate(2) }, (*serverstest.Cluster).Heal},
	{"two servers are cut off from each other", func(c *serverstest.Cluster) { c.Split(0, 2) }, (*serverstest.Cluster).Heal},
	{"the quorum is lost", func(c *serverstest.Cluster) { c.Kill(0); c.Kill(1) }, func(c *serverstest.Cluster) { c.Restart(0); c.Restart(1) }},
	{"a server loses its files", func(c *serverstest.Cluster) { c.Kill(0); c.Wipe(0) }, func(c *serverstest.Cluster) { c.Restart(0) }},
}

const (
	faultWorkers = 4 // half of them on each follower
	faultSecrets = 5 // of each worker, which it rotates once under each fault
)

// faultWorker rotates its secrets again and again.
type faultWorker struct {
	side clustered
	r    *rotation.Rotator
	ids  []secret.ID
	from map[secret.ID]secret.VersionID
}

// TestClusterUnderFaults rotates secrets on three real servers while one fault after the
// other happens to these. A rotation that fails is tried again, as a worker does. None
// is given up, each request makes one version, and each version is announced once.
func TestClusterUnderFaults(t *testing.T) {
	t.Parallel()
	cluster := serverstest.StartCluster(t)
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	var workers []*faultWorker
	for i := range faultWorkers {
		w := &faultWorker{side: clusterSide(t, cluster.Connect(1+i%2), signer, serverstest.ClusterSize), ids: ids(fmt.Sprint("FAULT", i, "_"), faultSecrets), from: map[secret.ID]secret.VersionID{}}
		w.r = w.side.worker(t, w.ids...)
		workers = append(workers, w)
	}
	streams := allStreams(workers[0].side.bus)
	rounds := max(1, *clusterRotations/(faultWorkers*faultSecrets))
	for round := range rounds {
		for _, stream := range streams {
			cluster.Lead(workers[0].side.nc, stream, 0)
		}
		f := clusterFaults[round%len(clusterFaults)]
		begin := time.Now()
		f.begin(cluster)
		tries := rotateUnder(t, workers, round+1, func() { f.end(cluster) })
		cluster.AwaitCurrent(workers[0].side.nc, streams...)
		t.Logf("%s: %d rotations took %d tries and %s", f.name, faultWorkers*faultSecrets, tries, time.Since(begin).Round(10*time.Millisecond))
	}
	noneFailed(t, workers[0].side.nc)
	announcedOnce(t, workers, rounds)
}

// faultLasts is how long a fault lasts; a rotation may take until then.
const faultLasts = 1500 * time.Millisecond

// rotateUnder has every worker rotate each of its secrets once, ends the fault after a
// while, and returns how many tries it took.
func rotateUnder(t *testing.T, workers []*faultWorker, nth int, end func()) (tries int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			for _, id := range w.ids {
				n, err := w.persist(t.Context(), id, nth)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				tries += n
				mu.Unlock()
			}
		})
	}
	<-time.After(faultLasts)
	end()
	wg.Wait()
	return tries
}

// mostTries bounds the tries of one rotation.
const mostTries = 100

// betweenTries is the pause after a try that failed.
const betweenTries = 100 * time.Millisecond

// persist rotates a secret until that succeeds, and checks that this made one version.
func (w *faultWorker) persist(ctx context.Context, id secret.ID, nth int) (tries int, err error) {
	try := rotation.Try{Request: rotation.Request{Secret: id, From: w.from[id], Reason: events.ReasonManual}}
	for tries = 1; ; tries++ {
		if _, err = w.r.Rotate(ctx, try); err == nil {
			break
		}
		if events.IsPermanent(err) || tries == mostTries || ctx.Err() != nil {
			return tries, fmt.Errorf("%s, rotation %d, try %d: %w", id, nth, tries, err)
		}
		try.Retry.Attempt++
		<-time.After(betweenTries)
	}
	var m secret.Metadata
	for range mostTries { // the bucket may change its leader now
		if m, err = w.side.st.Describe(ctx, string(id)); err == nil {
			break
		}
		<-time.After(betweenTries)
	}
	if err == nil && (len(m.Versions) != nth || m.Current().ID == w.from[id]) {
		err = fmt.Errorf("%s: after rotation %d there are %d versions, current %s, was %s", id, nth, len(m.Versions), m.Current().ID, w.from[id])
	}
	w.from[id] = m.Current().ID
	return tries, err
}

// announcedOnce checks that the log has each version of each secret once.
func announcedOnce(t *testing.T, workers []*faultWorker, rotations int) {
	t.Helper()
	log := logOf(t, workers[0].side.nc, events.TypeRotated)
	for _, w := range workers {
		for _, id := range w.ids {
			times := map[secret.VersionID]int{}
			for _, d := range log[id] {
				times[d.VersionID]++
			}
			if len(times) != rotations || len(log[id]) != rotations {
				t.Errorf("%s was rotated %d times, and %d versions were announced %d times", id, rotations, len(times), len(log[id]))
			}
		}
	}
}
