package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
)

// TestAHookThatQuotesWhatItUsesTellsNothing: neither the log nor the record holds the
// value in use, or one that the hook was called with before.
func TestAHookThatQuotesWhatItUsesTellsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	values := []string{"Qx7rT2mB9kLw", "zP4nV8cD1hGs", "uY6kW3fJ5tRa"}
	r.write(key, values[0])
	var log waittest.Buffer
	m := r.manager(func(c *client.Config) {
		c.IDs, c.Logger = c.IDs[:1], slog.New(slog.NewTextHandler(&log, nil))
	})
	var seen []string
	stop, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		seen = append(seen, string(c.Value.Reveal()))
		if len(seen) == 1 {
			return nil
		}
		return fmt.Errorf("close postgres://app:%s@db: connection reset", strings.Join(seen, "@"))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, value := range values[1:] {
		v := r.write(key, value)
		r.notify(key, v)
		u := r.use("the refusal is on record", key, func(u events.User) bool { return u.Use.Status == events.StatusFailed && u.Use.Wanted == v })
		if !strings.Contains(u.Use.Reason, "close postgres://app:[redacted]") {
			t.Errorf("the reason is %q", u.Use.Reason)
		}
		for _, value := range values {
			if strings.Contains(u.Use.Reason, value) || strings.Contains(log.String(), value) {
				t.Errorf("the reason is %q, and the log quotes a value: %t", u.Use.Reason, strings.Contains(log.String(), value))
			}
		}
	}
}
