package integration

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// startClusterOfUses starts three servers with the streams. The stream of uses is
// led by the first one.
func startClusterOfUses(t *testing.T, o events.StreamOptions) (*serverstest.Cluster, *events.Bus) {
	t.Helper()
	cluster := serverstest.StartCluster(t)
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	nc := cluster.Connect(0)
	bus, err := events.New(nc, events.Config{Source: "/test", Verifier: events.NewVerifier(signer.Public()), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	o.Replicas = serverstest.ClusterSize
	if err := bus.EnsureStreams(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{bus.Names().UsesStream(), bus.Names().ReportsStream()} {
		cluster.Lead(nc, stream, 0)
	}
	return cluster, bus
}

// joinFleet stores the use of a secret and then the presence of an instance.
func joinFleet(t *testing.T, bus *events.Bus, instance string, id secret.ID) uint64 {
	t.Helper()
	u := events.Use{
		Running: events.Running{SecretID: id, VersionID: "v1", Status: events.StatusApplied},
		Service: "api", Instance: instance, Incarnation: instance + "-1", PastFence: events.PastFenceServe, Joined: true,
	}
	if err := bus.WriteUse(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	seq, err := bus.Join(t.Context(), events.Presence{Service: "api", Instance: instance, Incarnation: instance + "-1", Lease: 600})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// TestAStoppedFollowerHidesNoUser: while one of three servers is paused, an
// instance joins, and the bus acknowledges its records. Reads of the fleet at the
// same moment have some of their requests answered by the paused server once it
// goes on, from before. Each of them has the instance, or fails.
func TestAStoppedFollowerHidesNoUser(t *testing.T) {
	t.Parallel()
	const follower = serverstest.ClusterSize - 1
	cluster, bus := startClusterOfUses(t, events.StreamOptions{})
	for round := range 3 {
		id := secret.ID(fmt.Sprint("STALE", round))
		joinFleet(t, bus, "early", id)
		if _, err := bus.Fleet(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		cluster.Stop(follower)
		seq := joinFleet(t, bus, "late", id)
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				f, err := bus.Fleet(t.Context(), id)
				if err != nil {
					return
				}
				if len(f.Users) != 2 || f.Users[0].Problem+f.Users[1].Problem != "" || f.Seq <= seq || f.At.Before(f.Users[1].UsedAt) {
					t.Errorf("%s: the fleet is %+v, want two users through sequence %d", id, f, seq)
				}
			})
		}
		wg.Go(func() { continueAfter(cluster, follower) })
		wg.Wait()
	}
}

// TestAFullStreamOnAClusterIsAnError: a cluster refuses what replaces a record,
// too, so that a read of the fleet has no barrier.
func TestAFullStreamOnAClusterIsAnError(t *testing.T) {
	t.Parallel()
	_, bus := startClusterOfUses(t, events.StreamOptions{UsesRecords: 3})
	if _, err := bus.Fleet(t.Context(), "FULL"); err != nil { // which stores the barrier
		t.Fatal(err)
	}
	seq := joinFleet(t, bus, "one", "FULL")
	f, err := bus.Fleet(t.Context(), "FULL")
	if !errors.Is(err, events.ErrFull) && !f.Full {
		t.Errorf("the fleet of a full stream is %+v, err %v", f, err)
	}
	_, renewed := bus.Renew(t.Context(), events.Presence{Service: "api", Instance: "one", Incarnation: "one-1", Lease: 600}, seq)
	if !errors.Is(renewed, events.ErrFull) || !errors.Is(err, events.ErrFull) {
		t.Errorf("a renewal in a full stream: %v, a fleet: %v; say in docs/events.md what a cluster accepts", renewed, err)
	}
	if err := bus.Forget(t.Context(), "api", "one", "one-1", []secret.ID{"FULL"}, seq); err != nil {
		t.Errorf("forget: %v", err)
	}
	if f, err := bus.Fleet(t.Context(), "FULL"); err != nil || f.Full || len(f.Users) != 0 {
		t.Errorf("the fleet after room was made is %+v, err %v", f, err)
	}
}
