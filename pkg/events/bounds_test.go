package events_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestTheLogIsBounded in the number of its messages, and so are the notifications. New ones take the place of the oldest, and the health of the bus
// says how near the bound is.
func TestTheLogIsBounded(t *testing.T) {
	t.Parallel()
	const bound, secrets = 10, 25
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{LogRecords: bound})
	for i := range secrets {
		e := events.Rotated("/test", time.Now(), events.Data{SecretID: secret.ID(fmt.Sprint("S", i)), Store: "main", VersionID: "v1", Reason: events.ReasonManual})
		seq, err := b.PublishAfter(t.Context(), e, 0)
		if err == nil {
			err = b.Notify(t.Context(), "api", e, seq)
		}
		if err != nil {
			t.Fatalf("secret %d: %v", i, err)
		}
	}
	for i := range secrets {
		last, err := b.Last(t.Context(), events.TypeRotated, secret.ID(fmt.Sprint("S", i)))
		if kept := last.Seq != 0; err != nil || kept != (i >= secrets-bound) {
			t.Errorf("secret %d of %d is in a log of %d: %t, %v", i, secrets, bound, kept, err)
		}
	}
	for _, h := range b.Health(t.Context()) {
		if n := b.Names(); (h.Stream == n.RotatedStream() || h.Stream == n.NotifyStream()) && (h.Messages != bound || h.MaxMessages != bound) {
			t.Errorf("stream %s has %d of %d messages", h.Stream, h.Messages, h.MaxMessages)
		}
	}
	for _, c := range b.Names().StreamConfigs(events.StreamOptions{}) {
		if c.Name == b.Names().RotatedStream() && c.MaxMsgs <= 0 {
			t.Errorf("stream %s has no bound by default", c.Name)
		}
	}
}
