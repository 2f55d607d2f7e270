package integration

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// pausedReads is how many reads of each kind are made while a server is paused.
const pausedReads = 240

// TestAPausedFollowerHoldsUpNoRead: while one of three servers is paused, which leads
// no stream, every read of a service and every proof has its answer.
func TestAPausedFollowerHoldsUpNoRead(t *testing.T) {
	t.Parallel()
	cluster := serverstest.StartCluster(t)
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	nc := cluster.Connect(0)
	side := clusterSide(t, nc, signer, serverstest.ClusterSize)
	for _, stream := range allStreams(side.bus) {
		cluster.Lead(nc, stream, 0)
	}
	service := directReader(t, side)
	if _, err := side.bus.Fleet(t.Context(), "PAUSED"); err != nil { // it also makes what it needs
		t.Fatal(err)
	}
	n := 0
	side.tell(t, n)
	names := side.bus.Names()
	cluster.AwaitDirect(names.NotifyStream(), names.UsesStream(), names.ReportsStream(), "KV_"+natskv.DefaultBucket)
	var last secret.VersionID
	for name, read := range map[string]func(context.Context) (stale bool, err error){
		"the last notification": func(ctx context.Context) (bool, error) {
			a, err := side.bus.LastNotified(ctx, "api", "PAUSED")
			return a.Event.Data.VersionID != last, err
		},
		"the store": func(ctx context.Context) (bool, error) {
			m, err := service.Describe(ctx, "PAUSED")
			return m.Current().ID != last, err
		},
		"the fleet": func(ctx context.Context) (bool, error) {
			_, err := side.bus.Fleet(ctx, "PAUSED")
			return false, err
		},
	} {
		cluster.Stop(serverstest.ClusterSize - 1)
		n++
		last = side.tell(t, n)
		readAll(t, name, read)
		cluster.Continue(serverstest.ClusterSize - 1)
	}
}

// readAll makes reads at once, and checks that each has an answer.
func readAll(t *testing.T, name string, read func(context.Context) (bool, error)) {
	t.Helper()
	var mu sync.Mutex
	var slow, stale int
	var worst time.Duration
	var wg sync.WaitGroup
	for range pausedReads {
		wg.Go(func() {
			begin := time.Now()
			old, err := read(t.Context())
			took := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if old {
				stale++
			}
			if took >= time.Second {
				slow++
			}
			worst = max(worst, took)
		})
	}
	wg.Wait()
	t.Logf("%s: of %d reads %d took a second or more, the longest %s, and %d were stale", name, pausedReads, slow, worst.Round(time.Millisecond), stale)
}

// allStreams returns the streams of a bus and the one of the bucket.
func allStreams(bus *events.Bus) []string {
	var out []string
	for _, c := range bus.Names().StreamConfigs(events.StreamOptions{}) {
		out = append(out, c.Name)
	}
	return append(out, "KV_"+natskv.DefaultBucket)
}

// directReader opens the store of a side as a service does.
func directReader(t *testing.T, side clustered) *store.Store {
	t.Helper()
	js, err := jetstream.New(side.nc)
	if err != nil {
		t.Fatal(err)
	}
	d, err := natskv.Open(t.Context(), natskv.Config{JS: js, MasterKey: make([]byte, natskv.MasterKeySize), Existing: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.New("service", d, &store.Options{Circuit: store.Circuit{Failures: -1}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// tell writes a version and announces it to the service.
func (c clustered) tell(t *testing.T, n int) secret.VersionID {
	t.Helper()
	const id = secret.ID("PAUSED")
	m, _ := c.st.Describe(t.Context(), string(id)) // not found at first
	from := m.Current().ID
	value := secret.NewValue(fmt.Append(nil, "value-", n))
	v, err := c.st.Put(t.Context(), string(id), store.Write{Token: secret.NewToken(id, from, "", n), From: from, Value: value, Create: true})
	if err == nil {
		err = c.st.Promote(t.Context(), string(id), from, v.ID)
	}
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: id, Store: "main", VersionID: v.ID, Reason: events.ReasonManual})
	if err == nil {
		err = c.bus.Notify(t.Context(), "api", e, uint64(n+1))
	}
	if err != nil {
		t.Fatal(err)
	}
	return v.ID
}
