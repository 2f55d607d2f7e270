package events_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// canary is what callbacks panic with; no log shows it.
const canary = "canary-4711"

// panicking returns a server with its streams, and a bus with a log of its own.
func panicking(t *testing.T) (*eventstest.Server, *events.Bus, *lines) {
	t.Helper()
	s, log := eventstest.NewServer(t), &lines{}
	s.NewBus(events.StreamOptions{Memory: true})
	b, err := events.New(s.Connect(), events.Config{Signer: s.Signer, Verifier: events.NewVerifier(s.Signer.Public()), Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text := log.String(); !strings.Contains(text, "msg=bus.handler.panic") || !strings.Contains(text, "panicked with a string") || strings.Contains(text, canary) {
			t.Errorf("the log does not say what happened, or shows what it panicked with:\n%s", text)
		}
	})
	return s, b, log
}

func TestANotificationThatPanicsIsNotTheLast(t *testing.T) {
	t.Parallel()
	_, b, _ := panicking(t)
	got := make(chan secret.VersionID, 2)
	stop, err := b.SubscribeNotify(t.Context(), "api", func(_ context.Context, d events.Delivery) {
		if d.Event.Data.VersionID == "v1" {
			panic(canary)
		}
		got <- d.Event.Data.VersionID
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for i, v := range []secret.VersionID{"v1", "v2"} {
		if err := b.Notify(t.Context(), "api", event(events.TypeRotated, v), uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if v := <-got; v != "v2" {
		t.Errorf("notified of %s, want v2", v)
	}
}

func TestAReconnectThatPanicsIsNotTheLast(t *testing.T) {
	t.Parallel()
	s, b, log := panicking(t)
	var calls atomic.Int64
	b.OnReconnect(t.Context(), func() {
		if calls.Add(1) == 1 {
			panic(canary)
		}
	})
	for want := range int64(2) {
		s.Stop()
		s.Start()
		waittest.Until(t, "the reconnect is seen", func() error {
			if calls.Load() < want+1 || !strings.Contains(log.String(), "bus.handler.panic") {
				return errors.New("the reconnect was not seen")
			}
			return nil
		})
	}
}

// TestARetryThatPanicsHasFailed: the message comes back by itself.
func TestARetryThatPanicsHasFailed(t *testing.T) {
	t.Parallel()
	_, b, _ := panicking(t)
	attempts := make(chan int, 8)
	consume(t, b, events.ConsumeConfig{
		Consumer: events.WorkerConsumer,
		Retry:    func(context.Context, events.Delivery, error) error { panic(canary) },
	}, func(_ context.Context, d events.Delivery) error {
		attempts <- d.Attempt
		if d.Attempt > 1 {
			return nil
		}
		return errors.New("not yet")
	})
	if err := b.RotateNow(t.Context(), event(events.TypeNearExpiry, "v1")); err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 2; want++ {
		if got := <-attempts; got != want {
			t.Errorf("attempt %d, want %d", got, want)
		}
	}
}

// TestAWatchThatPanicsEndsWithAnError: its caller decides what becomes of it.
func TestAWatchThatPanicsEndsWithAnError(t *testing.T) {
	t.Parallel()
	_, b, _ := panicking(t)
	for name, watch := range map[string]func() error{
		"log": func() error {
			return b.WatchLog(t.Context(), []events.Type{events.TypeRotated}, func(context.Context, events.Announcement) error { panic(canary) }, nil)
		},
		"reports": func() error {
			return b.WatchReports(t.Context(), func(events.ReportEvent) error { panic(canary) })
		},
	} {
		if err := b.Publish(t.Context(), event(events.TypeRotated, "v1")); err != nil {
			t.Fatal(err)
		}
		if err := watch(); err == nil || !strings.Contains(err.Error(), "panicked with a string") {
			t.Errorf("the watch of the %s ended with %v", name, err)
		}
	}
}
