package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// consumeBatches runs a consumer until the test ends.
func consumeBatches(t *testing.T, b *events.Bus, h events.BatchHandler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- b.ConsumeBatches(ctx, events.BatchConfig{Consumer: events.EventBridgeConsumer}, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("consume: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// seen collects deliveries.
type seen struct {
	mu    sync.Mutex
	all   []events.Delivery
	sizes []int
}

func (s *seen) add(ds []events.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.sizes = append(s.all, ds...), append(s.sizes, len(ds))
}

func (s *seen) versions() []secret.VersionID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []secret.VersionID
	for _, d := range s.all {
		out = append(out, d.Event.Data.VersionID)
	}
	return out
}

func (s *seen) await(t *testing.T, n int) {
	t.Helper()
	waittest.Until(t, "the events are handed out", func() error {
		if got := len(s.versions()); got < n {
			return fmt.Errorf("%d events were handed out, want %d", got, n)
		}
		return nil
	})
}

func TestBatchesKeepTheOrderOfTheLog(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{EventBridge: true})
	var want []secret.VersionID
	for i := range 45 {
		e := event([]events.Type{events.TypeRotated, events.TypeRollout, events.TypeRotationFailed}[i%3], secret.VersionID(fmt.Sprint("v", i)))
		if err := b.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		want = append(want, e.Data.VersionID)
	}
	if err := b.Publish(t.Context(), event(events.TypeStaged, "staged")); err != nil {
		t.Fatal(err)
	}
	var s seen
	consumeBatches(t, b, func(_ context.Context, ds []events.Delivery) []error {
		s.add(ds)
		return make([]error, len(ds))
	})
	s.await(t, len(want))
	if got := s.versions(); !slices.Equal(got, want) {
		t.Errorf("handed out %v, want %v", got, want)
	}
	if slices.Max(s.sizes) != 10 {
		t.Errorf("batches of %v, want some of 10 and none larger", s.sizes)
	}
	waittest.Until(t, "the queue for EventBridge is empty", func() error {
		if n, err := b.Waiting(t.Context(), events.EventBridgeConsumer); err != nil || n != 0 {
			return fmt.Errorf("%d wait, err %w", n, err)
		}
		return nil
	})
}

func TestEachEventOfABatchHasItsOutcome(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{EventBridge: true})
	for _, v := range []secret.VersionID{"done", "never", "again"} {
		if err := b.Publish(t.Context(), event(events.TypeRollout, v)); err != nil {
			t.Fatal(err)
		}
	}
	var s seen
	consumeBatches(t, b, func(_ context.Context, ds []events.Delivery) []error {
		s.add(ds)
		out := make([]error, len(ds))
		for i, d := range ds {
			switch v := d.Event.Data.VersionID; {
			case v == "never":
				out[i] = events.Permanent(errors.New("never"))
			case v == "again" && d.Attempt < 3:
				out[i] = events.RetryAfter(errors.New("not yet"), time.Millisecond)
			}
		}
		return out
	})
	waittest.Until(t, "the queue for EventBridge is empty", func() error {
		if n, err := b.Waiting(t.Context(), events.EventBridgeConsumer); err != nil || n != 0 {
			return fmt.Errorf("%d wait, err %w", n, err)
		}
		return nil
	})
	times := map[secret.VersionID]int{}
	for _, v := range s.versions() {
		times[v]++
	}
	if times["done"] != 1 || times["never"] != 1 || times["again"] != 3 {
		t.Errorf("handed out %v, want done and never once, again three times", times)
	}
}

// TestAHandlerThatFailsHasDoneNothing: one that panics, or does not say what
// became of each event, is handed them again.
func TestAHandlerThatFailsHasDoneNothing(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{EventBridge: true})
	if err := b.Publish(t.Context(), event(events.TypeRollout, "v1")); err != nil {
		t.Fatal(err)
	}
	var s seen
	consumeBatches(t, b, func(_ context.Context, ds []events.Delivery) []error {
		s.add(ds)
		switch ds[0].Attempt {
		case 1:
			panic("a handler that fails")
		case 2:
			return nil
		default:
			return make([]error, len(ds))
		}
	})
	s.await(t, 3)
	waittest.Until(t, "the queue for EventBridge is empty", func() error {
		if n, err := b.Waiting(t.Context(), events.EventBridgeConsumer); err != nil || n != 0 {
			return fmt.Errorf("%d wait, err %w", n, err)
		}
		return nil
	})
}

func TestABatchIsOfEventsThatAreTrusted(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{EventBridge: true})
	forger, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := srv.Bus(forger, forger).Publish(t.Context(), event(events.TypeRollout, secret.VersionID(fmt.Sprint("forged", i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := srv.Connect().PublishMsg(&nats.Msg{Subject: b.Names().Event(events.TypeRotated, id.Key()), Data: []byte("{")}); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), event(events.TypeRollout, "ours")); err != nil {
		t.Fatal(err)
	}
	var s seen
	consumeBatches(t, b, func(_ context.Context, ds []events.Delivery) []error {
		s.add(ds)
		return make([]error, len(ds))
	})
	s.await(t, 1)
	if got := s.versions(); !slices.Equal(got, []secret.VersionID{"ours"}) {
		t.Errorf("handed out %v, want what we signed", got)
	}
}

func TestBatchesSurviveARestartAndALostStream(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{EventBridge: true})
	var s seen
	consumeBatches(t, b, func(_ context.Context, ds []events.Delivery) []error {
		s.add(ds)
		return make([]error, len(ds))
	})
	publish := func(v secret.VersionID) {
		t.Helper()
		waittest.Until(t, "the event is published", func() error { return b.Publish(t.Context(), event(events.TypeRollout, v)) })
	}
	publish("v1")
	s.await(t, 1)
	srv.Stop()
	srv.Start()
	publish("v2")
	s.await(t, 2)
	js, err := srv.Connect().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(b.Names().RotatedStream()); err != nil {
		t.Fatal(err)
	}
	publish("v3")
	s.await(t, 3)
}

func TestDrainHandsNothingBack(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{EventBridge: true})
	if err := b.Publish(t.Context(), event(events.TypeRollout, "v1")); err != nil {
		t.Fatal(err)
	}
	began, end := make(chan struct{}), make(chan struct{})
	stop := consumeBatches(t, b, func(_ context.Context, ds []events.Delivery) []error {
		close(began)
		<-end
		return make([]error, len(ds))
	})
	<-began
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(end)
	<-stopped
	if n, err := b.Waiting(t.Context(), events.EventBridgeConsumer); err != nil || n != 0 {
		t.Errorf("after the drain %d wait, err %v", n, err)
	}
}
