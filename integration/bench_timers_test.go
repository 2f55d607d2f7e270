package integration

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	benchTimers = 100_000
	benchSpread = 20 * time.Second
	benchLead   = 15 * time.Second // to arm all of them before the first fires
)

// BenchmarkTimers arms a hundred thousand secrets at once, as after the loss of
// the streams, and lets them fire spread over twenty seconds. Lateness is from
// the time that was asked for to the event's place in the queue.
func BenchmarkTimers(b *testing.B) {
	for b.Loop() {
		s := newSite(b, startBroker(b, false))
		nc := s.broker.connect()
		before := heap()
		begin := time.Now()
		due := arm(b, s.bus(nc, "bench"), begin.Add(benchLead))
		armed := time.Since(begin)
		held := heap() - before
		js, err := jetstream.New(nc)
		if err != nil {
			b.Fatal(err)
		}
		late := fire(b, js, due)
		nc.Close()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(armed.Seconds(), "armed-s")
		b.ReportMetric(benchTimers/armed.Seconds(), "armed/s")
		b.ReportMetric(float64(held)/benchTimers, "heap-B/timer")
		b.ReportMetric(percentile(late, 50)/1e3, "late-p50-ms")
		b.ReportMetric(percentile(late, 99)/1e3, "late-p99-ms")
		b.ReportMetric(float64(late[len(late)-1].Milliseconds()), "late-max-ms")
	}
}

// arm sets the timer of every secret, many at a time as several schedulers
// would, and returns when each is due by the subject of its event.
func arm(b *testing.B, bus *events.Bus, first time.Time) map[string]time.Time {
	b.Helper()
	due := make(map[string]time.Time, benchTimers)
	type timer struct {
		id secret.ID
		at time.Time
	}
	next := make(chan timer)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for t := range next {
				e := events.NearExpiry("/bench", time.Now(), secret.Spec{ID: t.id, Store: "embedded"}, secret.Metadata{})
				if changed, err := bus.Arm(b.Context(), e, t.at); err != nil || !changed {
					b.Errorf("arm: changed %t, err %v", changed, err)
				}
			}
		})
	}
	for i := range benchTimers {
		t := timer{secret.ID(fmt.Sprintf("tradepulse/prod/secret-%06d", i)), first.Add(benchSpread * time.Duration(i) / benchTimers)}
		due[bus.Names().Event(events.TypeNearExpiry, t.id.Key())] = t.at
		next <- t
	}
	close(next)
	wg.Wait()
	return due
}

// fire waits for every event and returns how late each was, in order. It fails
// when one fires twice.
func fire(b *testing.B, js jetstream.JetStream, due map[string]time.Time) []time.Duration {
	b.Helper()
	c, err := js.Consumer(b.Context(), events.Names{}.RotationStream(), events.WorkerConsumer)
	if err != nil {
		b.Fatal(err)
	}
	late := make([]time.Duration, 0, len(due))
	all := make(chan struct{})
	consuming, err := c.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		at, ok := due[m.Subject()]
		if err != nil || !ok {
			b.Errorf("%s fired, err %v; it was not armed, or fired before", m.Subject(), err)
			return
		}
		delete(due, m.Subject())
		late = append(late, meta.Timestamp.Sub(at))
		if err := m.Ack(); err != nil {
			b.Error(err)
		}
		if len(due) == 0 {
			close(all)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	<-all
	consuming.Stop()
	<-consuming.Closed()
	slices.Sort(late)
	return late
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
