package events_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

func confirmed(consumer string, v secret.VersionID) events.Confirmed {
	return events.Confirmed{SecretID: "team/db", Consumer: consumer, VersionID: v, By: "/test/alice", At: time.Now()}
}

// TestTheLastConfirmationCounts: of each consumer, as a read and as a watch have it.
// A record that is of another consumer than its subject says confirms nothing.
func TestTheLastConfirmationCounts(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	consumers := []secret.Consumer{{Name: "erp"}, {Name: "batch"}, {Name: "none"}}
	if got, err := b.Confirmations(t.Context(), "team/db", consumers); err != nil || len(got) > 0 {
		t.Errorf("before any: %v, %v", got, err)
	}
	for _, c := range []events.Confirmed{confirmed("erp", "v1"), confirmed("erp", "v2"), confirmed("batch", "v1")} {
		if err := b.RecordConfirmed(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	forged := `{"secret_id":"team/db","consumer":"erp","version_id":"v3","by":"mallory"}`
	if _, err := srv.Connect().Request(b.Names().Confirmed(secret.ID("team/db").Key(), "none"), []byte(forged), time.Minute); err != nil {
		t.Fatal(err)
	}
	got, err := b.Confirmations(t.Context(), "team/db", consumers)
	if err != nil || len(got) != 2 || got["erp"].VersionID != "v2" || got["batch"].VersionID != "v1" || got["erp"].By != "/test/alice" {
		t.Errorf("got %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []string
	err = b.WatchConfirmed(ctx, func(c events.Confirmed) error {
		if seen = append(seen, fmt.Sprint(c.Consumer, " ", c.VersionID)); len(seen) == 2 {
			return b.RecordConfirmed(t.Context(), confirmed("erp", "v3"))
		}
		if len(seen) == 3 {
			cancel()
		}
		return nil
	})
	if want := []string{"erp v2", "batch v1", "erp v3"}; err != nil || !slices.Equal(seen, want) {
		t.Errorf("a watch has %q, %v, want %q", seen, err, want)
	}
}

func TestAConfirmationSaysWhoAndWhat(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	for name, change := range map[string]func(*events.Confirmed){
		"no secret":         func(c *events.Confirmed) { c.SecretID = "" },
		"no consumer":       func(c *events.Confirmed) { c.Consumer = "" },
		"a consumer of two": func(c *events.Confirmed) { c.Consumer = "a.b" },
		"no version":        func(c *events.Confirmed) { c.VersionID = "" },
		"nobody":            func(c *events.Confirmed) { c.By = "" },
	} {
		c := confirmed("erp", "v1")
		if change(&c); b.RecordConfirmed(t.Context(), c) == nil {
			t.Errorf("%s: it is recorded", name)
		}
	}
}

func TestAFleetIsOneToken(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	for fleet, ok := range map[string]bool{"": true, "eu-1": true, "eu 1": false, "a.b": false} {
		p := presence("one")
		p.Fleet = fleet
		if _, err := b.Join(t.Context(), p); (err == nil) != ok {
			t.Errorf("fleet %q: %v", fleet, err)
		}
	}
}

// TestADiscoveryCarriesTheProof: a notifier knows nothing else of the secret.
func TestADiscoveryCarriesTheProof(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	spec := secret.Spec{ID: "DB", Store: "main", Path: "db", Services: []string{"nightly"}, Proof: secret.Proof{
		Subscribers: map[string]secret.Subscriber{"nightly": {Kind: secret.KindJob, MaxRun: 3 * time.Hour}, "other": {JoinRequired: true}},
		Consumers:   []secret.Consumer{{Name: "erp", After: time.Hour}}, Fleets: []string{"eu"}, NoSubscribers: secret.NoSubscribersHold,
	}}
	if err := b.Publish(t.Context(), events.Discovery("/test", time.Now(), spec)); err != nil {
		t.Fatal(err)
	}
	last, err := b.Last(t.Context(), events.TypeDiscovered, "DB")
	got, ok := last.Event.Data.Spec()
	if want := spec.Proof.Of(spec.Services); err != nil || !ok || got.Proof.String() != want.String() {
		t.Errorf("got %s, %v, want %s", got.Proof, err, want)
	}
	changed := spec
	changed.Proof.Fleets = nil
	if last.Event.Data.Discovered.Same(events.Discovery("/test", time.Now(), changed).Data.Discovered) {
		t.Error("a discovery with another proof is the same")
	}
}
