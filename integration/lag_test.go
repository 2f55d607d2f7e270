package integration

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestRotationsWhileDirectGetsShowThePast has every direct get answer from one to
// three messages ago. Four workers rotate eight secrets again and again: each
// rotation succeeds at the first try, and each cause makes one version.
func TestRotationsWhileDirectGetsShowThePast(t *testing.T) {
	t.Parallel()
	const workers, each, times = 4, 2, 15
	for behind := uint64(1); behind <= 3; behind++ {
		t.Run(fmt.Sprint(behind, " messages behind"), func(t *testing.T) {
			t.Parallel()
			server := eventstest.NewServer(t)
			side := clusterSide(t, server.Connect(), server.Signer, 1)
			server.Lag(behind)
			var wg sync.WaitGroup
			for w := range workers {
				mine := ids(fmt.Sprint("WORKER_", w), each)
				r := side.worker(t, mine...)
				wg.Go(func() {
					from := map[secret.ID]secret.VersionID{}
					for i := range each * times {
						id := mine[i%each]
						next, err := side.rotateOnce(t.Context(), r, id, from[id], i/each+1)
						if err != nil {
							t.Error(err)
							return
						}
						from[id] = next
					}
				})
			}
			wg.Wait()
			noneFailed(t, side.nc)
		})
	}
}

// TestDirectGetsShowThePast: the kit makes what it says. A service reads the
// notification before the last, and a worker the last announcement.
func TestDirectGetsShowThePast(t *testing.T) {
	t.Parallel()
	server := eventstest.NewServer(t)
	bus := server.NewBus(events.StreamOptions{})
	server.Lag(1)
	for i, v := range []secret.VersionID{"v1", "v2"} {
		e := events.Rotated("/test", time.Now(), events.Data{SecretID: "ID", Store: "main", VersionID: v, Reason: events.ReasonManual})
		seq, err := bus.PublishAfter(t.Context(), e, uint64(i))
		if err == nil {
			err = bus.Notify(t.Context(), "api", e, seq)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	past, err := bus.LastNotified(t.Context(), "api", "ID")
	if err != nil || past.Event.Data.VersionID != "v1" {
		t.Errorf("the last notification is %s, err %v, want that of v1", past.Event.Data.VersionID, err)
	}
	last, err := bus.Last(t.Context(), events.TypeRotated, "ID")
	if err != nil || last.Event.Data.VersionID != "v2" {
		t.Errorf("the last announcement is %s, err %v, want that of v2", last.Event.Data.VersionID, err)
	}
}
