package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestEventStreamsDeleted deletes every stream but the store's while nothing
// is running: after a restart and one sweep every secret is armed again, and
// those that are overdue rotate.
func TestEventStreamsDeleted(t *testing.T) {
	t.Parallel()
	var specs []secret.Spec
	for i, id := range ids("LOST", 40) {
		spec := secret.Spec{ID: id, Store: "embedded", TTL: 24 * time.Hour}
		if i%4 == 0 { // overdue as soon as it is written
			spec.RefreshMargin, spec.MaxJitter = 24*time.Hour-time.Millisecond, -1
		}
		specs = append(specs, spec)
	}
	b := startBroker(t, false)
	s := newSite(t, b, specs...)
	s.seed()
	nc := b.connect()
	defer nc.Close()
	bus := s.bus(nc, "test")
	deleteStreams(t, b)
	if err := bus.EnsureStreams(t.Context(), s.streams); err != nil {
		t.Fatal(err)
	}
	before := map[secret.ID]secret.VersionID{}
	c := s.catalog(nc)
	for _, spec := range specs {
		before[spec.ID] = describe(t, c, spec.ID).Current().ID
	}
	sched := s.run("scheduler", s.scheduler(time.Hour)) // the first sweep only
	work := s.run("worker", s.worker(2))
	waittest.Until(t, "the overdue have rotated and the others have timers", func() error {
		for i, spec := range specs {
			timer, err := bus.Timer(t.Context(), events.TypeNearExpiry, spec.ID)
			if err != nil {
				return err
			}
			rotated := describe(t, c, spec.ID).Current().ID != before[spec.ID]
			if overdue := i%4 == 0; overdue && !rotated {
				return fmt.Errorf("%s is overdue and has not rotated", spec.ID)
			} else if !overdue && (rotated || timer.Seq == 0) {
				return fmt.Errorf("%s: rotated %t, timer %d", spec.ID, rotated, timer.Seq)
			}
		}
		return nil
	})
	work.stop()
	sched.stop()
}

// deleteStreams deletes every stream that is not a key-value bucket.
func deleteStreams(t *testing.T, b *broker) {
	t.Helper()
	nc := b.connect()
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	names := events.Names{}
	for _, stream := range []string{names.RotationStream(), names.RotatedStream(), names.NotifyStream(), names.ReportsStream(), names.UsesStream()} {
		if err := js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
}
