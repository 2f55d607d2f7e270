package client_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/pkg/client"
)

// seconds returns a gauge of the key, and false if there is none.
func (c *clock) seconds(name string) (float64, bool) {
	c.t.Helper()
	var all metricdata.ResourceMetrics
	if err := c.reader.Collect(context.Background(), &all); err != nil {
		c.t.Fatal(err)
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			data, ok := m.Data.(metricdata.Gauge[float64])
			if m.Name != name || !ok || len(data.DataPoints) == 0 {
				continue
			}
			if v, _ := data.DataPoints[0].Attributes.Value("secret.id"); len(data.DataPoints) != 1 || v.AsString() != string(key) {
				c.t.Errorf("%s has the data points %v", name, data.DataPoints)
			}
			return data.DataPoints[0].Value, true
		}
	}
	return 0, false
}

// TestAgeAndTimeToExpiryAreComputedWhenCollected: nothing happens in the process
// between two collections, and the numbers move all the same.
func TestAgeAndTimeToExpiryAreComputedWhenCollected(t *testing.T) {
	want := func(c *clock, name string, want float64) {
		c.t.Helper()
		if got, ok := c.seconds(name); !ok || got != want {
			c.t.Errorf("%s is %v, %v, want %v", name, got, ok, want)
		}
	}
	inFakeTime(t, time.Hour, nil, func(c *clock) {
		want(c, "secret.age", 0)
		want(c, "secret.time_to_expiry", 3600)
		c.down.Store(true)
		c.pass(90 * time.Minute)
		want(c, "secret.age", 5400)
		want(c, "secret.time_to_expiry", -1800)
		c.down.Store(false)
		c.write()
		if err := c.m.Refresh(c.t.Context(), key); err != nil {
			c.t.Fatal(err)
		}
		c.pass(time.Second)
		want(c, "secret.age", 1)
		want(c, "secret.time_to_expiry", 3599)
		if err := c.m.Close(c.t.Context()); err != nil {
			c.t.Error(err)
		}
		if got, ok := c.seconds("secret.age"); ok {
			t.Errorf("a closed manager reports the age %v", got)
		}
	})
	inFakeTime(t, 0, func(cfg *client.Config) { cfg.PollInterval = time.Hour }, func(c *clock) {
		c.pass(time.Minute)
		want(c, "secret.age", 60)
		if got, ok := c.seconds("secret.time_to_expiry"); ok {
			t.Errorf("a version without an end has %v seconds left", got)
		}
	})
}

// TestFailedCallbacksAreCounted: one that refuses a version, and one that panics when
// it is too late to refuse.
func TestFailedCallbacksAreCounted(t *testing.T) {
	inFakeTime(t, 0, nil, func(c *clock) {
		var broken atomic.Bool
		broken.Store(true)
		if _, err := c.m.Subscribe(c.t.Context(), key, func(_ context.Context, ch client.Change) error {
			if broken.Load() && ch.Version.ID != c.h.Get().Version.ID {
				return errors.New("cannot log in")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if n := c.metric("secret.hook.failures"); n != 0 {
			t.Errorf("%d failures of hooks, none has failed", n)
		}
		c.write()
		if err := c.m.Refresh(c.t.Context(), key); err == nil {
			t.Error("the hook did not refuse")
		}
		if n := c.metric("secret.hook.failures"); n != 1 {
			t.Errorf("%d failures of hooks, want 1", n)
		}
		broken.Store(false)
		c.pass(time.Hour)
		if n := c.metric("secret.hook.failures"); n != 1 || value(c.h.Get()) != "value-2" {
			t.Errorf("%d failures of hooks after the hook took %s, want 1", n, value(c.h.Get()))
		}
	})
}
