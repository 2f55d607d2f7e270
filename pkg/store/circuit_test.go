package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// patient is a driver whose Describe and List take as long as they are told to,
// and end with their context.
type patient struct {
	*storetest.Mem
	takes atomic.Int64 // nanoseconds
	calls atomic.Int64
}

func (p *patient) wait(ctx context.Context) error {
	p.calls.Add(1)
	select {
	case <-time.After(time.Duration(p.takes.Load())):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *patient) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	if err := p.wait(ctx); err != nil {
		return secret.Metadata{}, err
	}
	return p.Mem.Describe(ctx, path)
}

func (p *patient) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		for m, err := range p.Mem.List(ctx) {
			if werr := p.wait(ctx); werr != nil {
				yield(secret.Metadata{}, werr)
				return
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

const ever = 1000 * time.Hour

func newStore(t *testing.T, d store.Driver, o store.Options) *store.Store {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := store.New("one", d, &o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seeded(t *testing.T, n int) *patient {
	t.Helper()
	p := &patient{Mem: storetest.NewMem(nil)}
	for i := range n {
		path := fmt.Sprint("s", i)
		if _, err := p.Put(t.Context(), path, store.Write{Token: secret.NewToken("s", "", "", i), Value: secret.NewValue([]byte("v")), Create: true}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// TestADeadStoreIsLeftAlone lets four workers hang in a store, and sees them free
// long before the timeout of their calls, and the store alone until it is back.
func TestADeadStoreIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		reader := sdk.NewManualReader()
		d := seeded(t, 1)
		s := newStore(t, d, store.Options{
			Logger: slog.New(slog.NewTextHandler(&log, nil)), MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader)),
		})
		d.takes.Store(int64(ever))
		begin := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := s.Describe(t.Context(), "s0"); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("a call that hangs: %v, want unavailable", err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took != store.DefaultStall {
			t.Errorf("four workers were held up for %s, want %s", took, store.DefaultStall)
		}
		for range 100 {
			if _, err := s.Describe(t.Context(), "s0"); !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("a call to a dead store: %v, want unavailable", err)
			}
		}
		for _, err := range s.List(t.Context()) {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("a list of a dead store: %v, want unavailable", err)
			}
		}
		if n := d.calls.Load(); n != 4 || time.Since(begin) != store.DefaultStall {
			t.Errorf("%d calls reached the store after %s, want 4 at once", n, time.Since(begin))
		}
		if got := circuitOf(t, reader); got != 2 {
			t.Errorf("rotator.store.circuit is %d, want 2", got)
		}

		time.Sleep(store.DefaultOpenFor + 1)
		for range 4 {
			wg.Go(func() { _, _ = s.Describe(t.Context(), "s0") }) // one of them asks whether it is back
		}
		wg.Wait()
		if n := d.calls.Load(); n != 5 {
			t.Errorf("%d calls have reached the store, want one more", n)
		}

		d.takes.Store(0)
		time.Sleep(store.DefaultOpenFor + 1)
		for range 3 {
			if _, err := s.Describe(t.Context(), "s0"); err != nil {
				t.Errorf("the store is back: %v", err)
			}
		}
		if got := circuitOf(t, reader); got != 0 || !strings.Contains(log.String(), "store.circuit store=one from=closed to=open") {
			t.Errorf("rotator.store.circuit is %d, want 0; log:\n%s", got, log.String())
		}
	})
}

func circuitOf(t *testing.T, r sdk.Reader) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if g, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == "rotator.store.circuit" {
				return g.DataPoints[0].Value
			}
		}
	}
	t.Fatal("there is no rotator.store.circuit")
	return 0
}

// TestASlowStoreIsNotDead: a call may take its time while others get through.
func TestASlowStoreIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := seeded(t, 1)
		s := newStore(t, d, store.Options{})
		d.takes.Store(int64(store.DefaultStall + store.DefaultStall/2))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Describe(t.Context(), "s0"); err != nil {
				t.Errorf("a slow call: %v", err)
			}
		})
		time.Sleep(store.DefaultStall - 1)
		if _, _, err := s.Get(t.Context(), "s0", store.Selector{Stage: secret.StagePending}); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// TestAnswersDoNotOpenTheCircuit: what a living store says no with is no sign of
// death, and neither is a caller who goes away.
func TestAnswersDoNotOpenTheCircuit(t *testing.T) {
	t.Parallel()
	for _, answer := range []error{store.ErrNotFound, store.ErrConflict, store.ErrAccessDenied, store.ErrThrottled, store.ErrReadOnly, context.Canceled} {
		d := storetest.NewMem(nil)
		d.Fault = func(string, string) error { return answer }
		s := newStore(t, d, store.Options{})
		for range 10 {
			if _, err := s.Describe(t.Context(), "s0"); !errors.Is(err, answer) || errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("%v, want %v", err, answer)
			}
		}
	}
	d := seeded(t, 1)
	d.takes.Store(int64(ever))
	s := newStore(t, d, store.Options{})
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := s.Describe(ctx, "s0"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the caller's deadline: %v", err)
		}
		cancel()
	}
}

func TestACircuitCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	d := storetest.NewMem(nil)
	calls := 0
	d.Fault = func(string, string) error { calls++; return store.ErrUnavailable }
	s := newStore(t, d, store.Options{Circuit: store.Circuit{Failures: -1}})
	for range 10 {
		if _, err := s.Describe(t.Context(), "s0"); !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
	}
	if calls != 10 {
		t.Errorf("%d of 10 calls were made", calls)
	}
}

// idle is a driver that passes over the secrets of others for long, and says that
// it gets on.
type idle struct{ *storetest.Mem }

func (*idle) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		for range 20 {
			select {
			case <-time.After(store.DefaultTimeout - 1):
			case <-ctx.Done():
				yield(secret.Metadata{}, ctx.Err())
				return
			}
			if !yield(secret.Metadata{}, nil) {
				return
			}
		}
	}
}

// TestAListMayTakeLongAndNotHang: what the store takes for one secret is bounded,
// what it takes for all of them and what is done with each is not.
func TestAListMayTakeLongAndNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := seeded(t, 20)
		s := newStore(t, d, store.Options{})
		d.takes.Store(int64(store.DefaultTimeout - 1))
		n := 0
		for _, err := range s.List(t.Context()) {
			if err != nil {
				t.Fatalf("after %d secrets: %v", n, err)
			}
			n++
			time.Sleep(2 * store.DefaultTimeout)
		}
		if n != 20 {
			t.Errorf("%d of 20 secrets", n)
		}
		for m, err := range newStore(t, &idle{d.Mem}, store.Options{}).List(t.Context()) {
			t.Errorf("of a store with secrets of others only: %+v, %v", m, err)
		}
		d.takes.Store(int64(ever))
		begin := time.Now()
		for _, err := range s.List(t.Context()) {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("a list that hangs: %v, want unavailable", err)
			}
		}
		if took := time.Since(begin); took != store.DefaultTimeout {
			t.Errorf("it hung for %s, want %s", took, store.DefaultTimeout)
		}
	})
}
