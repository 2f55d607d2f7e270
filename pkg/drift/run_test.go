package drift_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/drift"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/target"
)

// logins counts the logins at a target, by secret. Those of one secret are refused, and
// those of another one hang.
type logins struct {
	target.ValueOnly
	*counts
}

type counts struct {
	mu         sync.Mutex
	of         map[secret.ID]int
	open, most int
}

func (l logins) Verify(ctx context.Context, c target.Change) error {
	l.mu.Lock()
	l.of[c.Spec.ID]++
	l.open++
	l.most = max(l.most, l.open)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.open--
		l.mu.Unlock()
	}()
	switch c.Spec.ID {
	case "REFUSED":
		return target.ErrRefused
	case "HANGS":
		<-ctx.Done()
		return ctx.Err()
	default:
		return nil
	}
}

// memory is a log in memory: a real server does not run in fake time.
type memory struct {
	mu   sync.Mutex
	last map[secret.ID]events.Announcement
	said map[secret.ID]int
}

func (m *memory) Last(_ context.Context, _ events.Type, id secret.ID) (events.Announcement, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[id], nil
}

func (m *memory) PublishAfter(_ context.Context, e events.Event, after uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := e.Data.SecretID
	if m.last[id].Seq != after {
		return 0, events.ErrConflict
	}
	m.said[id]++
	m.last[id] = events.Announcement{Event: e, Seq: after + 1}
	return after + 1, nil
}

// TestLoginsAreSpread: over two days each secret is tried about once an hour, one that does
// not work more often, few at a time, and what does not change is said once a day.
func TestLoginsAreSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, m := &counts{of: map[secret.ID]int{}}, &memory{last: map[secret.ID]events.Announcement{}, said: map[secret.ID]int{}}
		ids := []secret.ID{"REFUSED", "HANGS", "NO_TARGET"}
		for i := range 20 {
			ids = append(ids, secret.ID(fmt.Sprint("DB_", i)))
		}
		w := watcher(t, ids, c, m)
		ctx, stop := context.WithTimeout(t.Context(), 48*time.Hour)
		defer stop()
		if err := w.Run(ctx); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			least, most, said := 38, 64, 2
			switch id {
			case "REFUSED", "HANGS":
				least, most = 6*38, 6*64
			case "NO_TARGET":
				least, most, said = 0, 0, 0
			default:
			}
			if n := c.of[id]; n < least || n > most || m.said[id] != said {
				t.Errorf("%s: %d logins in two days, want %d to %d; said %d times, want %d", id, n, least, most, m.said[id], said)
			}
		}
		if got := m.last["HANGS"].Event.Data.Verification.State; got != events.VerifiedUnknown {
			t.Errorf("a target that hangs is %q", got)
		}
		if c.most > 4 || c.open > 0 {
			t.Errorf("%d logins at a time, %d left", c.most, c.open)
		}
	})
}

func watcher(t *testing.T, ids []secret.ID, c *counts, m *memory) *drift.Watcher {
	t.Helper()
	mem, specs := storetest.NewMem(nil), []secret.Spec{}
	for _, id := range ids {
		v, err := mem.Put(t.Context(), string(id), store.Write{Token: secret.NewToken(id, "", "test", 0), Value: secret.NewValue([]byte("value")), Create: true})
		if err := errors.Join(err, mem.Promote(t.Context(), string(id), "", v.ID)); err != nil {
			t.Fatal(err)
		}
		specs = append(specs, secret.Spec{ID: id, Store: "main", Path: string(id)})
	}
	quiet := slog.New(slog.DiscardHandler)
	st, err := store.New("main", mem, &store.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	known, err := catalog.New(catalog.Config{Stores: stores, Specs: specs})
	if err != nil {
		t.Fatal(err)
	}
	w, err := drift.New(drift.Config{Catalog: known, Stores: stores, Bus: m, Source: "/test", Logger: quiet, TargetFor: func(_ context.Context, s secret.Spec) (target.Target, error) {
		if s.ID == "NO_TARGET" {
			return nil, nil
		}
		return logins{counts: c}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}
