package events_test

import (
	"context"
	"errors"
	"fmt"
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

// TestAPurgeThatIsKilledLeavesNothingThatBlocks: what is left of an incarnation whose end
// is recorded first has ended, whichever purge was the last, and another program purges the
// rest.
func TestAPurgeThatIsKilledLeavesNothingThatBlocks(t *testing.T) {
	t.Parallel()
	for after := range 3 {
		t.Run(fmt.Sprint("after purge ", after), func(t *testing.T) {
			t.Parallel()
			srv := eventstest.NewServer(t)
			watched := srv.NewBus(events.StreamOptions{})
			join(t, watched, "one", "a", "b")
			const prefix = "BETWEEN"
			nc, dying, purges := srv.Connect(), srv.Connect(), 0
			if _, err := nc.Subscribe(prefix+".>", func(m *nats.Msg) {
				to := jetstream.DefaultAPIPrefix + strings.TrimPrefix(m.Subject, prefix+".")
				if strings.Contains(to, ".STREAM.PURGE.") {
					if purges++; purges > after {
						dying.Close()
						return
					}
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
			b, err := events.New(dying, events.Config{Verifier: events.NewVerifier(srv.Signer.Public()), APIPrefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			upTo := fleet(t, watched, "a").Seq
			if err := b.RecordEnd(t.Context(), "api", "one", "one-1", upTo); err != nil {
				t.Fatal(err)
			}
			if err := b.Forget(t.Context(), "api", "one", "one-1", []secret.ID{"a", "b"}, upTo); err == nil {
				t.Fatal("the purge was not cut off")
			}
			left := 0
			for _, of := range []secret.ID{"a", "b"} {
				for _, u := range fleet(t, watched, of).Users {
					if left++; !u.Ended() || u.Problem != "" {
						t.Errorf("of %s is left %+v", of, u)
					}
				}
			}
			if left != max(0, 2-after) {
				t.Errorf("%d uses are left", left)
			}
			if err := watched.Forget(t.Context(), "api", "one", "one-1", []secret.ID{"a", "b"}, fleet(t, watched, "a").Seq); err != nil {
				t.Fatal(err)
			}
			if f, err := watched.Instance(t.Context(), "api", "one", ""); err != nil || len(f.Users) != 0 {
				t.Errorf("in the end is left %+v, %v", f.Users, err)
			}
		})
	}
}

// TestTheEndOfAnIncarnationThatWasRenewedIsNotRecorded: and one whose end was recorded
// learns it with its next renewal.
func TestTheEndOfAnIncarnationThatWasRenewedIsNotRecorded(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	upTo := join(t, b, "one", "a")
	seq, err := b.Renew(t.Context(), presence("one"), upTo)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.RecordEnd(t.Context(), "api", "one", "one-1", upTo); !errors.Is(err, events.ErrConflict) {
		t.Errorf("the end of one that was renewed: %v", err)
	}
	if err := b.RecordEnd(t.Context(), "api", "one", "one-1", seq); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Renew(t.Context(), presence("one"), seq); !errors.Is(err, events.ErrConflict) {
		t.Errorf("a renewal after the end: %v", err)
	}
	if err := b.RecordEnd(t.Context(), "api", "two", "two-1", seq); err != nil {
		t.Errorf("one without a presence: %v", err)
	}
}
