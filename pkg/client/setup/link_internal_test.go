package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// record joins, and writes and ends a use.
func record(t *testing.T, l *link) error {
	t.Helper()
	p := events.Presence{Service: "api", Instance: "one", Incarnation: "first", Lease: 60, StartedAt: time.Now(), At: time.Now()}
	seq, err := l.Join(t.Context(), p)
	if err != nil {
		return err
	}
	u := events.Use{Running: events.Running{SecretID: "ID"}, Service: "api", Instance: "one", Incarnation: "first", PastFence: events.PastFenceServe}
	if err := l.WriteUse(t.Context(), u); err != nil {
		return err
	}
	p.Ended = true
	_, err = l.Renew(t.Context(), p, seq)
	return err
}

// TestAConnectionThatTheServerClosesIsReplaced: a breach of the protocol ends a
// connection for good. The service hears and reports on the next one, and a
// subscription that was stopped stays stopped.
func TestAConnectionThatTheServerClosesIsReplaced(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewListener(t)
	ours := srv.NewBus(events.StreamOptions{})
	log := &waittest.Buffer{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	var refuse atomic.Bool
	dial := func(ctx context.Context) (*nats.Conn, *events.Bus, error) {
		if refuse.Swap(false) {
			return nil, nil, errors.New("the password file is gone for a moment")
		}
		conn, err := events.Connect(ctx, events.ConnectConfig{URL: srv.URL(), Background: true, Logger: logger})
		if err != nil {
			return nil, nil, err
		}
		bus, err := events.New(conn, events.Config{Verifier: events.NewVerifier(srv.Signer.Public()), Logger: logger})
		return conn, bus, err
	}
	conn, bus, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(conn, bus, logger, dial)
	defer l.close()
	heard, stopped, back := make(chan secret.VersionID, 8), make(chan secret.VersionID, 8), make(chan struct{}, 8)
	listen := func(to chan secret.VersionID) (stop func()) {
		stop, err := l.SubscribeNotify(t.Context(), "api", func(_ context.Context, d events.Delivery) { to <- d.Event.Data.VersionID })
		if err != nil {
			t.Fatal(err)
		}
		return stop
	}
	defer listen(heard)()
	listen(stopped)()
	l.OnReconnect(t.Context(), func() { back <- struct{}{} })
	for round := range 2 {
		refuse.Store(true)
		conn, _ := l.current()
		if _, err := conn.SubscribeSync(strings.Repeat("a", 8<<10)); err != nil {
			t.Fatal(err)
		}
		waittest.Until(t, "another connection is in use", func() error {
			if now, _ := l.current(); now == conn || !l.Connected() {
				return fmt.Errorf("the log is\n%s", log)
			}
			return nil
		})
		<-back
		v := secret.VersionID(fmt.Sprint("v", round))
		e := events.Rotated("/test", time.Now(), events.Data{SecretID: "ID", Store: "main", VersionID: v, Reason: events.ReasonManual})
		if err := ours.Notify(t.Context(), "api", e, uint64(round+1)); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != v {
			t.Errorf("heard %s, want %s", got, v)
		}
		if err := record(t, l); err != nil {
			t.Error(err)
		}
		if a, err := l.LastNotified(t.Context(), "api", "ID"); err != nil || a.Event.Data.VersionID != v {
			t.Errorf("the last notification is %s, err %v", a.Event.Data.VersionID, err)
		}
	}
	if len(stopped) > 0 {
		t.Errorf("a subscription that was stopped heard %s", <-stopped)
	}
	if f, err := ours.Fleet(t.Context(), "ID"); err != nil || len(f.Users) != 1 || !f.Users[0].Presence.Ended {
		t.Errorf("on record are %+v, err %v", f.Users, err)
	}
	for _, want := range []string{"level=ERROR msg=nats.closed", "msg=nats.reopened", "the password file is gone"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}
