package integration

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// TestAStoppedFollowerRetiresNothing: while one of three servers is paused, an
// instance records that it runs the version before, and the bus acknowledges the
// records. Workers that are asked to retire that version at the same moment have
// some of their reads answered by the paused server once it goes on, from before
// those records. They must not take such an answer for the fleet.
func TestAStoppedFollowerRetiresNothing(t *testing.T) {
	t.Parallel()
	cluster := serverstest.StartCluster(t)
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	side := clusterSide(t, cluster.Connect(0), signer, serverstest.ClusterSize)
	names := events.Names{}
	for _, stream := range []string{names.RotatedStream(), names.UsesStream(), "KV_" + natskv.DefaultBucket} {
		cluster.Lead(side.nc, stream, 0)
	}
	for round := range 3 {
		p := drained(t, side, secret.ID(fmt.Sprint("PROOF", round)))
		cluster.Stop(serverstest.ClusterSize - 1)
		putUse(t, side.bus, "api", "late", p.id, p.before, 600)
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				if err := p.retire(t); err == nil || events.IsPermanent(err) {
					t.Errorf("%s: Retire() = %v while an instance runs the version", p.id, err)
				}
			})
		}
		wg.Go(func() { continueAfter(cluster, serverstest.ClusterSize-1) })
		wg.Wait()
		if _, _, err := side.st.Get(t.Context(), string(p.id), store.Selector{Version: p.before}); err != nil {
			t.Errorf("%s: the version that an instance runs is gone: %v", p.id, err)
		}
		putUse(t, side.bus, "api", "late", p.id, p.now, 600)
		if err := p.retire(t); err != nil && !errors.Is(err, events.ErrIncomplete) {
			t.Errorf("%s: Retire() = %v after every instance has the version", p.id, err)
		}
	}
}

// promoted is a secret whose first version can be retired.
type promoted struct {
	id          secret.ID
	before, now secret.VersionID
	order       events.Data // to retire what was before
	worker      *rotation.Rotator
}

// retire hands the order to the worker, as the bus does.
func (p promoted) retire(t *testing.T) error {
	t.Helper()
	return p.worker.Handle(t.Context(), events.Delivery{Event: events.Event{Type: events.TypeRetire, Time: time.Now(), Data: p.order}})
}

// drained rotates a secret twice, records that an instance runs the second version,
// and has the log say that it has converged, that its grace period is over and that
// it drains.
func drained(t *testing.T, c clustered, id secret.ID) promoted {
	t.Helper()
	p := promoted{id: id, worker: c.worker(t, id)}
	var err error
	if p.before, err = c.rotateOnce(t.Context(), p.worker, id, "", 1); err != nil {
		t.Fatal(err)
	}
	if p.now, err = c.rotateOnce(t.Context(), p.worker, id, p.before, 2); err != nil {
		t.Fatal(err)
	}
	putUse(t, c.bus, "api", "early", id, p.now, 600)
	past := time.Now().Add(-time.Minute)
	p.order = events.Data{
		SecretID: id, Store: "main", VersionID: p.now, PreviousVersionID: p.before, Reason: events.ReasonManual, OccurredAt: past,
		Rollout: &events.Rollout{State: events.RolloutDraining, StartedAt: past, ConvergedAt: past, RetireAt: past},
	}
	if _, err := c.bus.PublishAfter(t.Context(), rollout.Resume(p.order).Event("/test", rollout.Facts{Applied: 1}), 0); err != nil {
		t.Fatal(err)
	}
	return p
}
