package client_test

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// configured returns the configuration of a Manager of n secrets without a bus.
func configured(b *testing.B, n int) client.Config {
	b.Helper()
	mem := storetest.NewMem(nil)
	specs, ids := many(b, mem, n)
	st, err := store.New("mem", mem, &store.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	source, err := client.FromSpecs([]*store.Store{st}, specs)
	if err != nil {
		b.Fatal(err)
	}
	return client.Config{Service: "api", Source: source, IDs: ids, Logger: quiet}
}

// opened returns a Manager of n secrets that is closed with the benchmark.
func opened(b *testing.B, n int) (*client.Manager, []secret.ID) {
	b.Helper()
	cfg := configured(b, n)
	m, err := client.New(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Close(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	return m, cfg.IDs
}

// BenchmarkRead reads through a handle and by name, in turn with a bare atomic
// load, so that all of them see the same machine. Figures are medians of turns.
func BenchmarkRead(b *testing.B) {
	m, ids := opened(b, 100)
	h, id, ctx := m.Secret(ids[42]), ids[42], b.Context()
	var bare atomic.Pointer[client.Current]
	bare.Store(h.Get())
	byName := func() *client.Current { return m.Secret(id).Get() }
	get := func() *client.Current {
		c, err := m.Get(ctx, id)
		if err != nil {
			b.Fatal(err)
		}
		if c.Stale {
			return nil
		}
		return sink
	}
	var load, handle, name, copied []time.Duration
	for b.Loop() {
		load, handle = append(load, inTurn(bare.Load)), append(handle, inTurn(h.Get))
		name, copied = append(name, inTurn(byName)), append(copied, inTurn(get))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(each(load), "ns/atomic-load")
	b.ReportMetric(each(handle), "ns/handle-read")
	b.ReportMetric(each(name), "ns/read-by-name")
	b.ReportMetric(each(copied), "ns/Manager.Get")
	b.ReportMetric(each(handle)/each(load), "handle-of-atomic-load")
	b.ReportMetric(testing.AllocsPerRun(1000, func() { _, _, _ = h.Get(), byName(), get() }), "allocs")
}

// turn is how many reads are made before it is the next one's turn.
const turn = 5_000

var sink *client.Current

func inTurn(read func() *client.Current) time.Duration {
	begin := time.Now()
	var last *client.Current
	for range turn {
		last = read()
	}
	sink = last
	return time.Since(begin)
}

// each returns the nanoseconds of one read in the median turn.
func each(turns []time.Duration) float64 {
	slices.Sort(turns)
	return float64(turns[len(turns)/2].Nanoseconds()) / turn
}

// BenchmarkReadParallel reads one handle on every processor, against the same
// number of bare loads.
func BenchmarkReadParallel(b *testing.B) {
	m, ids := opened(b, 1)
	h := m.Secret(ids[0])
	var bare atomic.Pointer[client.Current]
	bare.Store(h.Get())
	const turn = 100_000
	everywhere := func(read func() *client.Current) time.Duration {
		begin := time.Now()
		done := make(chan struct{})
		workers := runtime.GOMAXPROCS(0)
		for range workers {
			go func() {
				var last *client.Current
				for range turn {
					last = read()
				}
				runtime.KeepAlive(last)
				done <- struct{}{}
			}()
		}
		for range workers {
			<-done
		}
		return time.Since(begin)
	}
	var load, handle []time.Duration
	for b.Loop() {
		load, handle = append(load, everywhere(bare.Load)), append(handle, everywhere(h.Get))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(each(handle)/each(load), "handle-of-atomic-load")
}

// BenchmarkManySecrets holds 10,000 secrets, and says what each of them costs
// when nothing happens: the value of 32 bytes included, the store not.
func BenchmarkManySecrets(b *testing.B) {
	const n = 10_000
	cfg := configured(b, n)
	var bytes, goroutines float64
	for b.Loop() {
		heap, running := inUse(), runtime.NumGoroutine()
		m, err := client.New(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		goroutines = float64(runtime.NumGoroutine() - running)
		bytes = float64(inUse()-heap) / n
		runtime.KeepAlive(m)
		if err := m.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(bytes, "B/secret")
	b.ReportMetric(goroutines, "goroutines")
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc + s.StackInuse)
}
