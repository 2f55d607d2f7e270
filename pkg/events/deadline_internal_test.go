package events

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestAHandlerThatIgnoresItsContext holds its slot until shortly after its deadline.
func TestAHandlerThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		c := &consumer{b: &Bus{log: slog.New(slog.DiscardHandler)}, cfg: ConsumeConfig{Timeout: time.Minute}, handle: func(context.Context, Delivery) error {
			<-release
			return nil
		}}
		begin := time.Now()
		if err := c.bounded(t.Context(), Delivery{}); !errors.Is(err, errHandlerStuck) || time.Since(begin) != time.Minute+handlerGrace {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
	})
}
