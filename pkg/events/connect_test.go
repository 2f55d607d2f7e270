package events_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// refusals waits until as many refusals are logged.
func refusals(t *testing.T, log *lines, want int) {
	t.Helper()
	waittest.Until(t, "the refusals are logged", func() error {
		if n := strings.Count(log.String(), "level=ERROR msg=nats.refused"); n < want {
			return fmt.Errorf("%d refusals are logged, want %d:\n%s", n, want, log)
		}
		return nil
	})
}

// busOf returns a bus on a connection of its own.
func busOf(t *testing.T, signer *events.Signer, cfg events.ConnectConfig) (*events.Bus, *nats.Conn) {
	t.Helper()
	nc, err := events.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	b, err := events.New(nc, events.Config{Source: "/test", Signer: signer, Verifier: events.NewVerifier(signer.Public()), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b, nc
}

// lines is a log that goroutines share.
type lines struct{ waittest.Buffer }

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// TestRefusedCredentialsComeBack: a connection that was refused three times works
// again once its password does, with all that runs on it: consumers, watches,
// subscriptions and calls. What was published meanwhile arrives.
func TestRefusedCredentialsComeBack(t *testing.T) {
	t.Parallel()
	g := eventstest.NewGuarded(t, "right")
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	admin, adminConn := busOf(t, signer, events.ConnectConfig{URL: g.URL(), User: "admin", Password: "admin", Logger: slog.New(slog.DiscardHandler)})
	if err := admin.EnsureStreams(t.Context(), events.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	b, _ := busOf(t, signer, events.ConnectConfig{URL: g.URL(), User: "service", Password: "right", Logger: log.logger()})

	consumed, watched := make(chan secret.VersionID, 8), make(chan secret.VersionID, 8)
	reported, notified := make(chan string, 8), make(chan secret.VersionID, 8)
	reconnected := make(chan struct{}, 8)
	consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(_ context.Context, d events.Delivery) error {
		consumed <- d.Event.Data.VersionID
		return nil
	})
	watches(t, b, watched, reported)
	if _, err := b.SubscribeNotify(t.Context(), "api", func(_ context.Context, d events.Delivery) { notified <- d.Event.Data.VersionID }); err != nil {
		t.Fatal(err)
	}
	b.OnReconnect(t.Context(), func() { reconnected <- struct{}{} })

	publish := func(v secret.VersionID) {
		t.Helper()
		err := errors.Join(admin.RotateNow(t.Context(), event(events.TypeNearExpiry, v)), admin.Publish(t.Context(), event(events.TypeRotated, v)),
			admin.Report(t.Context(), events.Report{Service: "api", Instance: string(v), At: time.Now(), StartedAt: time.Now()}, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(v secret.VersionID) {
		t.Helper()
		if got := <-consumed; got != v {
			t.Errorf("consumed %s, want %s", got, v)
		}
		if got := <-watched; got != v {
			t.Errorf("watched %s, want %s", got, v)
		}
		if got := <-reported; got != string(v) {
			t.Errorf("the report of %s was seen, want that of %s", got, v)
		}
	}
	publish("v1")
	arrived("v1")

	g.SetPassword("another")
	refusals(t, &log, 3)
	publish("v2")
	forget(t, adminConn, admin.Names().RotatedStream(), admin.Names().ReportsStream())
	g.SetPassword("right")
	<-reconnected
	arrived("v2")
	publish("v3")
	arrived("v3")
	if err := admin.Notify(t.Context(), "api", event(events.TypeRotated, "v3"), 3); err != nil {
		t.Fatal(err)
	}
	if got := <-notified; got != "v3" {
		t.Errorf("notified of %s, want v3", got)
	}
	if a, err := b.Last(t.Context(), events.TypeRotated, id); err != nil || a.Event.Data.VersionID != "v3" {
		t.Errorf("the last event is %s, %v", a.Event.Data.VersionID, err)
	}
	text := log.String()
	if !strings.Contains(text, "url="+g.URL()) || !strings.Contains(text, "remedy=") || strings.Contains(text, "right") {
		t.Errorf("the log does not say where and what to do, or shows the password:\n%s", text)
	}
	if strings.Contains(text, "nats.closed") {
		t.Error("the connection was closed meanwhile")
	}
}

// watches follows the log and the reports until the test ends.
func watches(t *testing.T, b *events.Bus, watched chan<- secret.VersionID, reported chan<- string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	wg.Go(func() {
		last := secret.VersionID("")
		err := b.WatchLog(ctx, []events.Type{events.TypeRotated}, func(_ context.Context, a events.Announcement) error {
			if v := a.Event.Data.VersionID; v != last { // a watch that begins anew repeats the last event
				last = v
				watched <- v
			}
			return nil
		}, nil)
		if err != nil {
			t.Errorf("watch the log: %v", err)
		}
	})
	wg.Go(func() {
		seen := map[string]bool{}
		err := b.WatchReports(ctx, func(e events.ReportEvent) error {
			if !e.Synced && !seen[e.Report.Instance] {
				seen[e.Report.Instance] = true
				reported <- e.Report.Instance
			}
			return nil
		})
		if err != nil {
			t.Errorf("watch the reports: %v", err)
		}
	})
}

// forget removes the ephemeral consumers of streams, as the server does with
// those of a client that is away for longer than their threshold.
func forget(t *testing.T, nc *nats.Conn, streams ...string) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	for _, name := range streams {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for info := range s.ListConsumers(t.Context()).Info() {
			if info.Config.Durable != "" {
				continue
			}
			if err := s.DeleteConsumer(t.Context(), info.Name); err != nil {
				t.Fatal(err)
			}
			removed++
		}
	}
	if removed != 2 {
		t.Errorf("%d consumers of watches were removed, want 2", removed)
	}
}

// TestRefusedInTheBackgroundIsLoud: also a connection that never came about says
// why, and comes about once the server takes its credentials.
func TestRefusedInTheBackgroundIsLoud(t *testing.T) {
	t.Parallel()
	g := eventstest.NewGuarded(t, "right")
	g.SetPassword("another")
	var log lines
	nc, err := events.Connect(t.Context(), events.ConnectConfig{URL: g.URL(), User: "service", Password: "right", Background: true, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	refusals(t, &log, 1)
	g.SetPassword("right")
	waittest.Until(t, "the connection is made", func() error {
		if !nc.IsConnected() {
			return errors.New("the connection did not come about")
		}
		return nil
	})
}

// TestAConnectionClosedByTheServerIsLoud: the reason, the server and what to do
// are in the log, and what waits for the end hears of it.
func TestAConnectionClosedByTheServerIsLoud(t *testing.T) {
	t.Parallel()
	g := eventstest.NewGuarded(t, "right")
	var log lines
	nc, err := events.Connect(t.Context(), events.ConnectConfig{URL: strings.Replace(g.URL(), "nats://", "nats://service:right@", 1), Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ended := make(chan error, 1)
	go func() { ended <- events.AwaitClose(t.Context(), nc) }()
	if _, err := nc.SubscribeSync(strings.Repeat("a", 8<<10)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "maximum control line exceeded") {
		t.Errorf("the end is reported as %v", err)
	}
	if err := events.AwaitClose(t.Context(), nc); err == nil {
		t.Error("a connection that is closed already counts as open")
	}
	waittest.Until(t, "the end of the connection is logged", func() error {
		for _, want := range []string{"level=ERROR msg=nats.closed", strings.TrimPrefix(g.URL(), "nats://"), "maximum control line exceeded", "remedy="} {
			if !strings.Contains(log.String(), want) {
				return fmt.Errorf("the log does not say %q:\n%s", want, &log)
			}
		}
		return nil
	})
	if strings.Contains(log.String(), "right") {
		t.Error("the log shows the password")
	}
}

// TestAConnectionClosedOnPurposeIsQuiet: AwaitClose ends with its context.
func TestAConnectionClosedOnPurposeIsQuiet(t *testing.T) {
	t.Parallel()
	g := eventstest.NewGuarded(t, "right")
	var log lines
	nc, err := events.Connect(t.Context(), events.ConnectConfig{URL: g.URL(), User: "service", Password: "right", Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := events.AwaitClose(ctx, nc); err != nil {
		t.Error(err)
	}
	nc.Close()
	if log.String() != "" {
		t.Errorf("closing on purpose is logged:\n%s", &log)
	}
}
