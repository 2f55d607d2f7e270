package integration

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// BenchmarkReload measures the time from the call that publishes secret.rotated
// to the new value in use in a service: log, notifier, notification, reload from
// the embedded store, hook. In the same run, one at a time between the reloads,
// one publication to the same stream reaches a pull consumer: that is the hop.
func BenchmarkReload(b *testing.B) {
	s := newSite(b, startBroker(b, false), secret.Spec{ID: "BENCH", Store: "embedded", Services: []string{"api"}, Create: true})
	s.seed()
	nc := s.broker.connect()
	b.Cleanup(nc.Close)
	bus, c := s.bus(nc, "bench"), s.catalog(nc)
	notifier := s.run("notifier", s.notifier())
	b.Cleanup(notifier.stop)
	m, err := client.New(b.Context(), client.Config{Service: "api", Source: c.source, IDs: []secret.ID{"BENCH"}, Bus: bus, Logger: s.log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Close(b.Context()); err != nil && b.Context().Err() == nil {
			b.Error(err)
		}
	})
	inUse := make(chan secret.VersionID, 1)
	stop, err := m.Subscribe(b.Context(), "BENCH", func(_ context.Context, c client.Change) error { inUse <- c.Version.ID; return nil })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	<-inUse
	hop := newHop(b, s)
	var reloads, hops []time.Duration
	for b.Loop() {
		hops = append(hops, hop.once())
		reloads = append(reloads, reload(b, bus, c, inUse))
	}
	report := func(name string, all []time.Duration) (p50, p99 float64) {
		slices.Sort(all)
		p50, p99 = percentile(all, 50), percentile(all, 99)
		b.ReportMetric(p50, name+"-p50-µs")
		b.ReportMetric(p99, name+"-p99-µs")
		return p50, p99
	}
	r50, r99 := report("reload", reloads)
	h50, h99 := report("hop", hops)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(r50/h50, "hops-p50")
	b.ReportMetric(r99/h99, "hops-p99")
}

// percentile returns the p-th percentile of sorted durations in microseconds.
func percentile(sorted []time.Duration, p int) float64 {
	return float64(sorted[min(len(sorted)*p/100, len(sorted)-1)].Microseconds())
}

// reload writes a version past every worker, announces it, and returns how long
// it took until the service used it.
func reload(b *testing.B, bus *events.Bus, c catalogued, inUse <-chan secret.VersionID) time.Duration {
	b.Helper()
	v, err := putVersion(b.Context(), c, "BENCH")
	if err != nil {
		b.Fatal(err)
	}
	last, err := bus.Last(b.Context(), events.TypeRotated, "BENCH")
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	if _, err := bus.PublishAfter(b.Context(), events.Rotated("/bench", begin, events.Data{SecretID: "BENCH", Store: "embedded", VersionID: v, Reason: events.ReasonManual}), last.Seq); err != nil {
		b.Fatal(err)
	}
	for got := range inUse {
		if got == v {
			break
		}
	}
	return time.Since(begin)
}

// hop is one publication and a pull consumer that waits for it.
type hop struct {
	b    *testing.B
	js   jetstream.JetStream
	body []byte
	got  chan struct{}
}

func newHop(b *testing.B, s *site) *hop {
	b.Helper()
	nc := s.broker.connect()
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	h := &hop{b: b, js: js, body: make([]byte, 512), got: make(chan struct{}, 1)}
	stream, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "HOP", Subjects: []string{"hop"}})
	if err != nil {
		b.Fatal(err)
	}
	c, err := stream.CreateConsumer(b.Context(), jetstream.ConsumerConfig{Durable: "hop"})
	if err != nil {
		b.Fatal(err)
	}
	consuming, err := c.Consume(func(m jetstream.Msg) {
		h.got <- struct{}{}
		if err := m.Ack(); err != nil {
			b.Error(err)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(consuming.Stop)
	return h
}

func (h *hop) once() time.Duration {
	begin := time.Now()
	if _, err := h.js.Publish(h.b.Context(), "hop", h.body); err != nil {
		h.b.Fatal(err)
	}
	<-h.got
	return time.Since(begin)
}
