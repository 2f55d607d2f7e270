package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// TestALongErrorIsHeardOf: an error may quote a whole page, in any bytes. It is
// announced, retried and acknowledged like a short one, and no event has it.
func TestALongErrorIsHeardOf(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("<p>Überlast\xff</p>", 8000)
	x := newRig(t, func(c *rotation.Config) { c.RetryBase = time.Hour })
	x.mem.Fault = func(string, string) error { return fmt.Errorf("%w: %s", store.ErrInvalid, page) }
	if err := x.rotate(t, x.v1); !events.IsPermanent(err) {
		t.Fatalf("err %.200v, want a permanent one", err)
	}
	last, err := x.bus.Last(t.Context(), events.TypeRotationFailed, "ID")
	if err != nil || last.Seq == 0 {
		t.Fatalf("announced as %d, err %v", last.Seq, err)
	}
	if m := last.Event.Data.Failure.Message; m != "the store can never accept the request as it is" {
		t.Errorf("announced in %d bytes: %.100q", len(m), m)
	}
	d := events.Delivery{Event: events.Event{Type: events.TypeNearExpiry, Time: time.Now(), Data: events.Data{SecretID: "ID", VersionID: x.v1, Reason: events.ReasonManual}}}
	if err := x.r.Retry(t.Context(), d, fmt.Errorf("%w: %s", store.ErrUnavailable, page)); err != nil {
		t.Errorf("no retry is armed: %v", err)
	}
	if timer, err := x.bus.Timer(t.Context(), events.TypeNearExpiry, "ID"); err != nil || timer.Event.Data.Failure == nil {
		t.Errorf("the timer of the retry is %+v, err %v", timer, err)
	}
}

// TestGivingUpIsLoud: what no retry can mend ends in an event, and is not tried
// again; what may end by itself is tried again, quietly.
func TestGivingUpIsLoud(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault error
		final bool
	}{
		"a read-only store is given up":   {store.ErrReadOnly, true},
		"an invalid request is given up":  {store.ErrInvalid, true},
		"a secret that is gone is too":    {store.ErrNotFound, true},
		"access denied is tried again":    {store.ErrAccessDenied, false},
		"throttling is tried again":       {store.ErrThrottled, false},
		"a store that is down is as well": {store.ErrUnavailable, false},
		"an unknown error is tried again": {errors.New("unknown"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
			mem := storetest.NewMem(nil)
			mem.Fault = func(string, string) error { return fmt.Errorf("%w: on purpose", c.fault) }
			quiet := slog.New(slog.DiscardHandler)
			st, err := store.New("mem", mem, &store.Options{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			catalog, stores := rotation.Configured(t, st, secret.Spec{ID: "ID", Store: "mem"})
			r, err := rotation.New(rotation.Config{Catalog: catalog, Stores: stores, Bus: bus, Timers: bus, Source: "/test", Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: "v1", Reason: events.ReasonManual}})
			if events.IsPermanent(err) != c.final || err == nil {
				t.Errorf("err %v, permanent %t, want %t", err, events.IsPermanent(err), c.final)
			}
			last, err := bus.Last(context.WithoutCancel(t.Context()), events.TypeRotationFailed, "ID")
			if err != nil || (last.Seq != 0) != c.final {
				t.Errorf("announced %t, want %t, err %v", last.Seq != 0, c.final, err)
			}
			if c.final && (last.Event.Data.Failure.Code != events.FailureCode(store.Reason(c.fault)) || last.Event.Data.Failure.Step != "read") {
				t.Errorf("announced as %+v", last.Event.Data.Failure)
			}
		})
	}
}
