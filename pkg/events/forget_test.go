package events_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestForgetIsNotCutOff: the caller ends after the presence is gone and before the uses
// are.
func TestForgetIsNotCutOff(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	watched := srv.NewBus(events.StreamOptions{})
	join(t, watched, "one", "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const prefix = "BETWEEN"
	nc := srv.Connect()
	if _, err := nc.Subscribe(prefix+".>", func(m *nats.Msg) {
		to := jetstream.DefaultAPIPrefix + strings.TrimPrefix(m.Subject, prefix+".")
		if strings.Contains(to, ".STREAM.PURGE.") {
			cancel()
		}
		if err := nc.PublishRequest(to, m.Reply, m.Data); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	b, err := events.New(srv.Connect(), events.Config{Verifier: events.NewVerifier(srv.Signer.Public()), APIPrefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	seq := fleet(t, watched, "a").Seq
	if err := b.Forget(ctx, "api", "one", "one-1", []secret.ID{"a", "b"}, seq); err != nil {
		t.Fatal(err)
	}
	for _, of := range []secret.ID{"a", "b"} {
		if got := users(t, watched, of); len(got) != 0 {
			t.Errorf("secret %s has users %q", of, got)
		}
	}
	if err := b.Forget(ctx, "api", "one", "one-1", nil, seq); err == nil {
		t.Error("Forget() begins after the end of its caller")
	}
}
