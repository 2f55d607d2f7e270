//go:build !race

package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestThousandRotationsTogether lets two schedulers and four workers find a
// thousand overdue secrets at once: each gets one new version. Under the race
// detector it is two hundred; the task faketime runs the thousand.
func TestThousandRotationsTogether(t *testing.T) {
	t.Parallel()
	n := 1000
	if raceDetector {
		n = 200
	}
	var specs []secret.Spec
	for _, id := range ids("MANY", n) {
		specs = append(specs, secret.Spec{ID: id, Store: "embedded", TTL: time.Hour, RefreshMargin: -1})
	}
	s := newSite(t, startBroker(t, false), specs...)
	s.seed()
	nc := s.broker.connect()
	defer nc.Close()
	before := map[secret.ID]secret.VersionID{}
	c := s.catalog(nc)
	bus := s.bus(nc, "test")
	for _, spec := range s.specs {
		before[spec.ID] = describe(t, c, spec.ID).Current().ID
		for range 2 { // two causes for each, as two schedulers would make them
			if err := bus.RotateNow(t.Context(), manual(spec, before[spec.ID])); err != nil {
				t.Fatal(err)
			}
		}
	}
	var all []*process
	for i := range 2 {
		all = append(all, s.run(fmt.Sprint("scheduler ", i), s.scheduler(time.Second)))
	}
	for i := range 4 {
		all = append(all, s.run(fmt.Sprint("worker ", i), s.worker(4)))
	}
	waittest.Until(t, "the queue of rotations is empty", func() error { return queueEmpty(t.Context(), nc) })
	for _, p := range all {
		p.stop()
	}
	log := logOf(t, nc, events.TypeRotated)
	for _, spec := range s.specs {
		meta := describe(t, c, spec.ID)
		if len(meta.Versions) != 2 || meta.Current().Token != spec.TokenIn(meta.Incarnation, before[spec.ID], 0) {
			t.Errorf("%s: %d versions, current %s", spec.ID, len(meta.Versions), meta.Current().ID)
		}
		if got := countVersion(log[spec.ID], meta.Current().ID); got != 1 {
			t.Errorf("%s: secret.rotated stands %d times in the log", spec.ID, got)
		}
		if timer, err := bus.Timer(t.Context(), events.TypeNearExpiry, spec.ID); err != nil || timer.Event.Data.VersionID != meta.Current().ID {
			t.Errorf("%s: no timer for the new version (%v)", spec.ID, err)
		}
	}
}
