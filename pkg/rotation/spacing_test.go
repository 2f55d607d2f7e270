package rotation_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// TestScheduledRotationsAreATenthOfTheLifetimeApart: a store whose clock is behind by
// more than a lifetime makes every version due at its birth, and a margin that is
// hardly shorter than the lifetime makes it due a moment later.
func TestScheduledRotationsAreATenthOfTheLifetimeApart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		behind time.Duration
		margin time.Duration
	}{
		"a store whose clock is behind":     {behind: 45 * time.Minute},
		"a margin that is a second shorter": {margin: 30*time.Minute - time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := secret.Spec{ID: "ADMIN", Store: "mem", TTL: 30 * time.Minute, RefreshMargin: c.margin, Create: true}
			behind := func() time.Time { return time.Now().Add(-c.behind) }
			st, err := store.New("mem", storetest.NewMem(behind), &store.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			spaced(t, st, spec)
		})
	}
}

// spaced rotates a secret for the first time and checks that the next rotation is put
// off to a tenth of the lifetime, by the clock of the log.
func spaced(t *testing.T, st *store.Store, spec secret.Spec) {
	t.Helper()
	stores := new(store.Set)
	if err := stores.Add(st); err != nil {
		t.Fatal(err)
	}
	known, err := catalog.New(catalog.Config{Stores: stores, Specs: []secret.Spec{spec}})
	if err != nil {
		t.Fatal(err)
	}
	bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	r, err := rotation.New(rotation.Config{Catalog: known, Stores: stores, Bus: bus, Timers: bus, Source: "/test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.RotateNow(t.Context(), events.NearExpiry("/test", time.Now(), spec, secret.Metadata{})); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- bus.Consume(ctx, events.ConsumeConfig{Consumer: events.WorkerConsumer, Retry: r.Retry}, r.Handle)
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	waittest.Until(t, "the second rotation is put off", func() error {
		timer, err := bus.Timer(t.Context(), events.TypeNearExpiry, spec.ID)
		if err != nil {
			return err
		}
		last, err := bus.Last(t.Context(), events.TypeRotated, spec.ID)
		if err != nil {
			return err
		}
		m, err := st.Describe(t.Context(), string(spec.ID))
		if err != nil {
			return err
		}
		if n := len(m.Versions); n > 2 {
			t.Fatalf("%d versions", n)
		}
		f := timer.Event.Data.Failure
		if wait := timer.At.Sub(last.At); f == nil || f.Code != events.CodeTooSoon || wait < spec.TTL/10 {
			return fmt.Errorf("the timer is %s after the last rotation, with %+v", wait, f)
		}
		return nil
	})
}
