package events_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// TestAHandlerThatHangs: a handler that ends with its context has failed, and its event
// comes again.
func TestAHandlerThatHangs(t *testing.T) {
	t.Parallel()
	s, log := eventstest.NewServer(t), &lines{}
	s.NewBus(events.StreamOptions{Memory: true})
	b, err := events.New(s.Connect(), events.Config{Signer: s.Signer, Verifier: events.NewVerifier(s.Signer.Public()), Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var calls atomic.Int64
	again := make(chan struct{})
	go func() {
		done <- b.Consume(ctx, events.ConsumeConfig{Consumer: events.NotifierConsumer, Timeout: 50 * time.Millisecond}, func(ctx context.Context, _ events.Delivery) error {
			if calls.Add(1) > 1 {
				close(again)
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	if err := b.Publish(t.Context(), event(events.TypeRotated, "v1")); err != nil {
		t.Fatal(err)
	}
	<-again
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	waittest.Until(t, "the log says that it comes again", func() error {
		if !strings.Contains(log.String(), "bus.redeliver") {
			return context.DeadlineExceeded
		}
		return nil
	})
}
