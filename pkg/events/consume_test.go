package events_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestBurstsAreConsumedWithoutAPause consumes bursts of more events than are
// handled at once, again and again: an iterator that forgets to ask for the rest
// of one goes on when its heartbeat fails, after a minute.
func TestBurstsAreConsumedWithoutAPause(t *testing.T) {
	t.Parallel()
	const bursts, each = 60, 14
	s := eventstest.NewServer(t)
	b := s.NewBus(events.StreamOptions{Memory: true})
	for burst := range bursts {
		for n := range each {
			e := event(events.TypeNearExpiry, secret.VersionID(fmt.Sprintf("v%d-%d", burst, n)))
			if err := b.RotateNow(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		var handled atomic.Int32
		all := make(chan struct{})
		stop := consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer, Concurrency: 4}, func(context.Context, events.Delivery) error {
			if handled.Add(1) == each {
				close(all)
			}
			return nil
		})
		select {
		case <-all:
		case <-time.After(3 * time.Minute):
			t.Fatalf("burst %d: %d of %d events have come", burst, handled.Load(), each)
		}
		waittest.Until(t, "the queue of rotations is empty", func() error { return queueEmpty(t, b) })
		stop()
	}
}

func TestTheOutcomeIsTheError(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		outcome    func(attempt int) error
		deliveries int
	}{
		"nil is done":               {func(int) error { return nil }, 1},
		"permanent is never again":  {func(int) error { return events.Permanent(boom) }, 1},
		"retry after is later":      {func(n int) error { return map[bool]error{true: events.RetryAfter(boom, time.Millisecond)}[n == 1] }, 2},
		"a plain error comes again": {func(n int) error { return map[bool]error{true: boom}[n == 1] }, 2},
		"a panic comes again": {func(n int) error {
			if n == 1 {
				panic("boom")
			}
			return nil
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
			seen := make(chan int, 8)
			consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(_ context.Context, d events.Delivery) error {
				seen <- d.Attempt
				return c.outcome(d.Attempt)
			})
			if err := b.RotateNow(t.Context(), event(events.TypeNearExpiry, "v1")); err != nil {
				t.Fatal(err)
			}
			for want := 1; want <= c.deliveries; want++ {
				if got := <-seen; got != want {
					t.Errorf("delivery %d came as attempt %d", want, got)
				}
			}
			waittest.Until(t, "the queue of rotations is empty", func() error { return queueEmpty(t, b) })
		})
	}
}

// queueEmpty returns an error while a worker has something left to do.
func queueEmpty(t *testing.T, b *events.Bus) error {
	t.Helper()
	n, err := b.Waiting(t.Context(), events.WorkerConsumer)
	if err != nil || n > 0 {
		return fmt.Errorf("%d messages wait, err %w", n, err)
	}
	return nil
}

func TestAFailedEventThatIsArmedAgainIsDone(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	retried := make(chan events.Delivery, 1)
	cfg := events.ConsumeConfig{Consumer: events.WorkerConsumer, Retry: func(_ context.Context, d events.Delivery, _ error) error { retried <- d; return nil }}
	consume(t, b, cfg, func(context.Context, events.Delivery) error { return errors.New("boom") })
	if err := b.RotateNow(t.Context(), event(events.TypeNearExpiry, "v1")); err != nil {
		t.Fatal(err)
	}
	<-retried
	waittest.Until(t, "the queue of rotations is empty", func() error { return queueEmpty(t, b) })
}

func TestDrainLetsTheHandlerFinish(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	begun, release, finished := make(chan struct{}), make(chan struct{}), atomic.Bool{}
	stop := consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(ctx context.Context, _ events.Delivery) error {
		close(begun)
		<-release
		finished.Store(ctx.Err() == nil)
		return nil
	})
	if err := b.RotateNow(t.Context(), event(events.TypeNearExpiry, "v1")); err != nil {
		t.Fatal(err)
	}
	<-begun
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	stop()
	if !finished.Load() {
		t.Error("the handler was cut off")
	}
	if err := queueEmpty(t, b); err != nil {
		t.Error(err)
	}
}

func TestConsumingSurvivesARestartAndALostStream(t *testing.T) {
	t.Parallel()
	s := eventstest.NewServer(t)
	b := s.NewBus(events.StreamOptions{})
	got := make(chan secret.VersionID, 8)
	consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(_ context.Context, d events.Delivery) error {
		got <- d.Event.Data.VersionID
		return nil
	})
	publish := func(v secret.VersionID) {
		t.Helper()
		waittest.Until(t, "the order is published", func() error { return b.RotateNow(t.Context(), event(events.TypeNearExpiry, v)) })
		if have := <-got; have != v {
			t.Errorf("got %s, want %s", have, v)
		}
	}
	publish("v1")
	s.Stop()
	s.Start()
	publish("v2")
	js, err := jetstream.New(s.Connect())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), b.Names().RotationStream()); err != nil {
		t.Fatal(err)
	}
	publish("v3")
}

// TestAnEmergencyHasALaneOfItsOwn: it is handed out while all other work waits, at once
// and after a try that failed, and the other lane never gets it.
func TestAnEmergencyHasALaneOfItsOwn(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	urgent := event(events.TypeNearExpiry, "v1")
	urgent.Data.SecretID, urgent.Data.Reason = "URGENT", events.ReasonEmergency
	retire := urgent
	retire.Type = events.TypeRetire
	for _, do := range []func() error{
		func() error { return b.RotateNow(t.Context(), event(events.TypeNearExpiry, "v1")) },
		func() error { return b.RotateNow(t.Context(), urgent) },
		func() error { _, err := b.Arm(t.Context(), retire, time.Now()); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(chan events.Type, 8)
	consume(t, b, events.ConsumeConfig{Consumer: events.EmergencyConsumer}, func(_ context.Context, d events.Delivery) error {
		if d.Event.Data.SecretID != "URGENT" {
			t.Errorf("the lane has %s", d.Event.Data.SecretID)
		}
		seen <- d.Event.Type
		return nil
	})
	if a, b := <-seen, <-seen; a == b {
		t.Errorf("got %s twice", a)
	}
	if n, err := b.Waiting(t.Context(), events.WorkerConsumer); err != nil || n != 1 {
		t.Errorf("%d messages wait in the other lane, %v", n, err)
	}
}
