package eventbridge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// forwarding is a site with a bus before it.
type forwarding struct {
	*site
	bus     *events.Bus
	metrics *sdkmetric.ManualReader
	logs    *logs
}

func newForwarding(t *testing.T) *forwarding {
	t.Helper()
	return &forwarding{
		site: newSite(t), bus: eventstest.NewServer(t).NewBus(events.StreamOptions{EventBridge: true, Memory: true}),
		metrics: sdkmetric.NewManualReader(), logs: &logs{},
	}
}

// run runs a Forwarder until stop is called or the test ends.
func (f *forwarding) run() (stop func()) {
	f.t.Helper()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(f.metrics))
	p, err := eventbridge.New(buses(f.front.URL), eventbridge.Config{
		Bus: busName, Pause: time.Millisecond, Logger: slog.New(slog.NewJSONHandler(f.logs, nil)), MeterProvider: meters,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	fw, err := eventbridge.NewForwarder(eventbridge.ForwarderConfig{Log: f.bus, Publisher: p, Pause: 10 * time.Millisecond, MaxPause: 100 * time.Millisecond})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	done := make(chan error, 1)
	go func() { done <- fw.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("run: %v", err)
		}
	})
	f.t.Cleanup(stop)
	return stop
}

func (f *forwarding) announce(es []events.Event) {
	f.t.Helper()
	for _, e := range es {
		if err := f.bus.Publish(f.t.Context(), e); err != nil {
			f.t.Fatal(err)
		}
	}
}

// empty waits until nothing is left to forward.
func (f *forwarding) empty() {
	f.t.Helper()
	waittest.Until(f.t, "the queue of events is empty", func() error {
		if n, err := f.bus.Waiting(f.t.Context(), events.EventBridgeConsumer); err != nil || n != 0 {
			return fmt.Errorf("%d events wait, err %w", n, err)
		}
		return nil
	})
}

// gauge returns what a gauge shows now.
func (f *forwarding) gauge(name string) float64 {
	f.t.Helper()
	var all metricdata.ResourceMetrics
	if err := f.metrics.Collect(f.t.Context(), &all); err != nil {
		f.t.Fatal(err)
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			switch g := m.Data.(type) {
			case metricdata.Gauge[int64]:
				if m.Name == name {
					return float64(g.DataPoints[0].Value)
				}
			case metricdata.Gauge[float64]:
				if m.Name == name {
					return g.DataPoints[0].Value
				}
			}
		}
	}
	f.t.Fatalf("there is no gauge %s", name)
	return 0
}

// logs is a log that can be read while it is written.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logs) has(want string) error {
	if !strings.Contains(l.String(), want) {
		return fmt.Errorf("the log has no %s:\n%s", want, l)
	}
	return nil
}

func TestManyEventsArriveOnceEach(t *testing.T) {
	t.Parallel()
	f := newForwarding(t)
	es := happenings(150)
	f.announce(es)
	f.run()
	f.wantEach(es)
	f.empty()
}

// TestAnOutageLosesNothing is a minute of EventBridge answering nothing, told by
// what happens in it and not by the clock: pauses are shortened, and it ends
// after the forwarder has said that it is behind.
func TestAnOutageLosesNothing(t *testing.T) {
	t.Parallel()
	f := newForwarding(t)
	es := happenings(200)
	f.announce(es[:100])
	f.run()
	waittest.Until(t, "the forwarder has begun", func() error {
		if len(f.front.sizes()) < 2 {
			return errors.New("the forwarder has not begun")
		}
		return nil
	})
	f.front.set(func(f *front) { f.down = true })
	f.announce(es[100:])
	waittest.Until(t, "the forwarder logs it", func() error { return f.logs.has(`"level":"ERROR","msg":"eventbridge.behind"`) })
	if n, since := f.gauge("rotator.eventbridge.waiting"), f.gauge("rotator.eventbridge.blocked"); n < 100 || since <= 0 {
		t.Errorf("in the outage the metrics show %v waiting, blocked for %v s", n, since)
	}
	f.front.set(func(f *front) { f.down = false })
	f.wantEach(es)
	f.empty()
	if n, since := f.gauge("rotator.eventbridge.waiting"), f.gauge("rotator.eventbridge.blocked"); n != 0 || since != 0 {
		t.Errorf("after the outage the metrics show %v waiting, blocked for %v s", n, since)
	}
	if err := f.logs.has("eventbridge.caught_up"); err != nil {
		t.Error(err)
	}
}

func TestPartialFailuresLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	f := newForwarding(t)
	// Of every seventh event the first tries are refused, of some more often
	// than the publisher itself repeats.
	f.front.refuse = func(e entry, tries int) string {
		switch sum := len(e.detail().Data.VersionID) + int(e.Detail[len(e.Detail)/2]); {
		case sum%7 == 0 && tries <= 2:
			return "ThrottlingException"
		case sum%7 == 1 && tries <= eventbridge.DefaultAttempts+1:
			return "InternalFailure"
		}
		return ""
	}
	es := happenings(150)
	f.announce(es)
	f.run()
	f.wantEach(es)
	f.empty()
}

// TestLostAnswersLoseNothing: what AWS took without saying so is put again, and
// can be told by its id.
func TestLostAnswersLoseNothing(t *testing.T) {
	t.Parallel()
	f := newForwarding(t)
	f.front.set(func(f *front) { f.lost = 3 })
	es := happenings(50)
	f.announce(es)
	f.run()
	f.empty()
	times := map[string]int{}
	for _, a := range f.take(50 + 3*10) {
		times[a.Detail.ID]++
	}
	if len(times) != len(es) {
		t.Errorf("%d events arrived, want %d", len(times), len(es))
	}
	for _, e := range es {
		if times[e.ID] == 0 {
			t.Errorf("%s of %s did not arrive", e.Type, e.Data.SecretID)
		}
	}
}

func TestAPoisonEntryBlocksNothing(t *testing.T) {
	t.Parallel()
	f := newForwarding(t)
	es := happenings(100)
	never, forbidden := es[7].ID, es[30].ID
	f.front.refuse = func(e entry, _ int) string {
		switch e.detail().ID {
		case never:
			return "MalformedDetail"
		case forbidden:
			return "NotAuthorizedForDetailTypeException"
		}
		return ""
	}
	f.announce(es)
	f.run()
	rest := append(append(append([]events.Event{}, es[:7]...), es[8:30]...), es[31:]...)
	f.wantEach(rest)
	waittest.Until(t, "the forwarder logs it", func() error { return f.logs.has("MalformedDetail") })
	waittest.Until(t, "the forwarder logs it", func() error { return f.logs.has("NotAuthorizedForDetailTypeException") })

	f.front.set(func(f *front) { f.refuse = func(entry, int) string { return "" } })
	f.wantEach([]events.Event{es[30]}) // it waited; the malformed one is gone
	f.empty()
}

func TestARequestThatIsAtFaultIsTakenApart(t *testing.T) {
	t.Parallel()
	f := newForwarding(t)
	es := happenings(40)
	bad := es[11].ID
	f.front.invalid = func(request []entry) bool {
		for _, e := range request {
			if e.detail().ID == bad {
				return true
			}
		}
		return false
	}
	f.announce(es)
	f.run()
	f.wantEach(append(append([]events.Event{}, es[:11]...), es[12:]...))
	waittest.Until(t, "the forwarder logs it", func() error { return f.logs.has("ValidationException") })
}

func TestEventsOfASecretKeepTheirOrder(t *testing.T) {
	t.Parallel()
	f := newForwarding(t)
	f.front.set(func(f *front) { f.down = true })
	es := happenings(30)
	f.announce(es)
	f.run()
	waittest.Until(t, "the forwarder logs it", func() error { return f.logs.has("eventbridge.behind") })
	f.front.set(func(f *front) { f.down = false })
	last := map[string]time.Time{}
	for _, a := range f.order(30) {
		if id := string(a.Subject); a.Time.Before(last[id]) {
			t.Errorf("an event of %s at %s came after one at %s", id, a.Time, last[id])
		} else {
			last[id] = a.Time
		}
	}
}

// order returns the details of n entries in the order in which they were put.
func (f *forwarding) order(n int) []eventbridge.Detail {
	f.t.Helper()
	var out []eventbridge.Detail
	waittest.Until(f.t, "every event has arrived", func() error {
		f.front.mu.Lock()
		defer f.front.mu.Unlock()
		out = nil
		for _, r := range f.front.requests {
			for _, e := range r {
				out = append(out, e.detail())
			}
		}
		if len(out) != n {
			return fmt.Errorf("%d entries were put, want %d", len(out), n)
		}
		return nil
	})
	return out
}

func TestAForwarderThatStopsInAnOutageLeavesTheRestToTheNext(t *testing.T) {
	t.Parallel()
	f := newForwarding(t)
	f.front.set(func(f *front) { f.down = true })
	es := happenings(20)
	f.announce(es)
	stop := f.run()
	waittest.Until(t, "the forwarder logs it", func() error { return f.logs.has("eventbridge.behind") })
	stop()
	f.front.set(func(f *front) { f.down = false })
	f.run()
	f.wantEach(es)
}
