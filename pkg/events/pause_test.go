package events_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAnUntrustedRecordNeitherPausesNorResumes: the last record that a trusted key has
// signed counts, whatever was published after it.
func TestAnUntrustedRecordNeitherPausesNorResumes(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b, nc := srv.NewBus(events.StreamOptions{}), srv.Connect()
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := events.NewSigner(stranger)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	forge := func(paused bool) {
		t.Helper()
		s, err := signer.Seal(events.SealedPause, events.Pause{SecretID: "ID", Paused: paused, By: "/test/mallory"})
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range [][]byte{sealed, []byte("no record")} {
			if _, err := js.Publish(t.Context(), b.Names().Paused(secret.ID("ID").Key()), body); err != nil {
				t.Fatal(err)
			}
		}
	}
	reads := func(when string, want bool) {
		t.Helper()
		if p, err := b.Pause(t.Context(), "ID"); err != nil || p.Paused != want || p.By == "/test/mallory" {
			t.Errorf("%s: %+v, %v, want paused %t", when, p, err, want)
		}
	}
	forge(true)
	reads("a forged pause", false)
	for _, paused := range []bool{true, false} {
		if err := b.SetPause(t.Context(), events.Pause{SecretID: "ID", Paused: paused, By: "/test/alice", Reason: "freeze", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		forge(!paused)
		reads("a forged record after one that is trusted", paused)
	}
}

func TestTheLastPauseCounts(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	if p, err := b.Pause(t.Context(), "ID"); err != nil || p != (events.Pause{}) {
		t.Errorf("never paused: %+v, %v", p, err)
	}
	for _, want := range []bool{true, false, true} {
		p := events.Pause{SecretID: "ID", Paused: want, By: "/test/alice", Reason: "freeze", At: time.Now()}
		if err := b.SetPause(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Pause(t.Context(), "ID"); err != nil || got.Paused != want || got.Reason != "freeze" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if p, err := b.Pause(t.Context(), "OTHER"); err != nil || p.Paused {
		t.Errorf("another secret: %+v, %v", p, err)
	}
	if err := b.SetPause(t.Context(), events.Pause{SecretID: "ID", Paused: true}); err == nil || errors.Is(err, events.ErrConflict) {
		t.Errorf("a pause without a name: %v", err)
	}
}
