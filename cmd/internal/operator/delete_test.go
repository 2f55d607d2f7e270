package operator

import (
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestWhatSpeaksAgainstADeletion: instances that use the secret or may use it, and
// consumers that report nothing, but no instance that has ended or uses another secret.
func TestWhatSpeaksAgainstADeletion(t *testing.T) {
	t.Parallel()
	bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	for instance, lease := range map[string]int{"live": 3600, "silent": 1, "ended": 3600, "other": 3600} {
		p := events.Presence{Service: "api", Instance: instance, Incarnation: instance, StartedAt: time.Now(), At: time.Now(), Lease: lease, Ended: instance == "ended"}
		if _, err := bus.Join(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		u := events.Use{Running: events.Running{SecretID: "A", VersionID: "v1", Status: events.StatusApplied}, Service: "api", Instance: instance, Incarnation: instance, Accepts: []secret.VersionID{}, PastFence: events.PastFenceServe, Joined: true}
		if instance == "other" {
			u.SecretID = "B"
		}
		if err := bus.WriteUse(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"api/live uses it (live)", "api/silent uses it (silent)", "cron reads it and reports nothing"}
	spec := secret.Spec{ID: "A", Proof: secret.Proof{Consumers: []secret.Consumer{{Name: "cron"}}}}
	for {
		got, err := usesOf(t.Context(), bus, spec)
		slices.Sort(got)
		if err != nil || slices.Equal(got, want) {
			return
		}
		if !slices.Contains(got, "api/silent uses it (live)") { // its lease of a second has not ended yet
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
}
