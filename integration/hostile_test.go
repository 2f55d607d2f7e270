package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	besieged      = secret.ID("BESIEGED")
	hostileCanary = "Hostile-Content-4711"
)

// forgeries turn a genuine message into one that must not be acted on. What they
// change carries the canary.
var forgeries = map[string]func(m *nats.Msg){
	"malformed": func(m *nats.Msg) { m.Header, m.Data = nil, []byte(`{"`+hostileCanary) },
	"oversized": func(m *nats.Msg) { m.Data = []byte(strings.Repeat(hostileCanary, 600<<10/len(hostileCanary))) },
	"unsigned": func(m *nats.Msg) {
		m.Header.Del("ce-signature")
		m.Header.Set("ce-source", hostileCanary)
	},
	"wrongly signed": func(m *nats.Msg) {
		m.Header.Set("ce-keyid", "0011223344556677")
		m.Data = []byte(`{"secret_id":"` + hostileCanary + `"}`)
	},
	"of an unknown type": func(m *nats.Msg) {
		m.Header.Set("ce-type", hostileCanary)
		if m.Header.Get("ce-id") == "" { // a report has no type but its form
			m.Data = []byte(`{"service":"api","instance":"one","secrets":[{"secret_id":"BESIEGED","status":"` + hostileCanary + `"}]}`)
		}
	},
}

// TestHostileMessagesOnEverySubject publishes forged and replayed messages on
// every subject there is, while everybody runs: they are counted and logged
// without their content, nothing rotates, nothing is retired, no queue keeps
// one, and afterwards a rotation goes all the way as before.
func TestHostileMessagesOnEverySubject(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	genuine := f.capture()
	for _, subject := range f.subjects() {
		if len(genuine[subject]) == 0 {
			t.Fatalf("there was no genuine message on %s to forge; there were some on %v", subject, slices.Sorted(maps.Keys(genuine)))
		}
	}
	versions := fmt.Sprint(f.versions())
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // one after the other, so that what is counted is theirs
			for _, subject := range f.subjects() {
				before := f.rejected()
				m := replay(genuine[subject][0])
				forge(m)
				if err := f.nc.PublishMsg(m); err != nil {
					t.Fatal(err)
				}
				if !consumed(subject) {
					continue
				}
				waittest.Until(t, "the message is counted as rejected", func() error {
					if f.rejected() == before {
						return fmt.Errorf("it was not counted on %s", subject)
					}
					return nil
				})
			}
			f.quiet(t)
		})
	}
	t.Run("replayed", func(t *testing.T) { //nolint:paralleltest // likewise
		for _, subject := range f.subjects() {
			for _, m := range genuine[subject] {
				if err := f.nc.PublishMsg(replay(m)); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.quiet(t)
	})
	if after := fmt.Sprint(f.versions()); after != versions {
		t.Errorf("the store held %s and holds %s", versions, after)
	}
	if strings.Contains(f.log.String(), hostileCanary) {
		t.Error("the log shows what the messages held")
	}
	if !strings.Contains(f.log.String(), "event.rejected") {
		t.Error("the log does not say that messages were rejected")
	}
	f.rotate(t)
}

// consumed reports whether a program takes, or watches, what is published on a
// subject. Timers are looked at by the program that arms them next, the last failure by
// the next sweep that cares.
func consumed(subject string) bool {
	return !strings.Contains(subject, "timer") && !strings.HasPrefix(subject, "secret.rotation_failed") && !strings.HasPrefix(subject, "notify.")
}

// fortress is a deployment with all of its parts.
type fortress struct {
	*site
	t      *testing.T
	nc     *nats.Conn
	ops    *events.Bus
	reader *metric.ManualReader
	log    *lockedBuffer
	m      *client.Manager

	incarnation string // of m

	mu       sync.Mutex
	captured map[string][]*nats.Msg // :: subject → messages, oldest first
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newFortress(t *testing.T) *fortress {
	t.Helper()
	f := &fortress{t: t, reader: metric.NewManualReader(), log: &lockedBuffer{}, captured: map[string][]*nats.Msg{}}
	f.site = newSite(t, startBroker(t, false), secret.Spec{
		ID: besieged, Store: "embedded", TTL: 24 * time.Hour, Services: []string{"api"}, Grace: time.Second, Fence: time.Second, Rollout: secret.RolloutPrepare, Create: true,
	})
	f.site.log = slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.meters = metric.NewMeterProvider(metric.WithReader(f.reader))
	f.nc = f.broker.connect()
	t.Cleanup(f.nc.Close)
	f.ops = f.bus(f.nc, "ops")
	if _, err := f.nc.Subscribe(">", f.take); err != nil {
		t.Fatal(err)
	}
	parts := []*process{f.run("scheduler", f.scheduler(time.Second)), f.run("worker", f.worker(2)), f.run("notifier", f.notifier())}
	t.Cleanup(func() {
		for _, p := range parts {
			p.stop()
		}
	})
	nc := f.broker.connect()
	t.Cleanup(nc.Close)
	catalog, bus := f.catalog(nc), f.bus(nc, "api")
	waittest.Until(t, "the service starts", func() (err error) {
		f.m, err = client.New(t.Context(), client.Config{Service: "api", Instance: "one", Source: catalog.source, IDs: []secret.ID{besieged}, Bus: bus, Lease: 6 * time.Second, Logger: f.site.log})
		return err
	})
	t.Cleanup(func() { _ = f.m.Close(context.WithoutCancel(t.Context())) }) // its records are gone with the server anyway
	users, err := live(t.Context(), f.ops, besieged)
	if err != nil || len(users) != 1 {
		t.Fatalf("%d users live, err %v", len(users), err)
	}
	f.incarnation = users[0].Use.Incarnation
	return f
}

// take keeps a copy of what passes by.
func (f *fortress) take(m *nats.Msg) {
	if strings.HasPrefix(m.Subject, "$") || strings.HasPrefix(m.Subject, "_INBOX") {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.captured[m.Subject] = append(f.captured[m.Subject], replay(m))
}

// replay returns a copy of a message as it can be published again: without
// what the first publication expected of the stream.
func replay(m *nats.Msg) *nats.Msg {
	out := nats.NewMsg(m.Subject)
	out.Data = bytes.Clone(m.Data)
	for k, v := range m.Header {
		if !strings.HasPrefix(k, "Nats-Expected") && k != nats.MsgIdHdr && k != "Nats-Scheduler" && k != "Nats-Schedule-Next" {
			out.Header[k] = slices.Clone(v)
		}
	}
	return out
}

func (f *fortress) subjects() []string {
	n, k := f.ops.Names(), besieged.Key()
	return []string{
		n.Timer(k), n.RetireTimer(k), n.SweepTimer(), n.Event(events.TypeSweep, ""), n.Event(events.TypeNearExpiry, k), n.Event(events.TypeRetire, k),
		n.Event(events.TypeStaged, k), n.Event(events.TypeRotated, k), n.Event(events.TypeRotationFailed, k), n.Event(events.TypeRollout, k),
		n.Notify("api", k), n.Live("api", k), n.Use(k, "api", f.incarnation), n.Presence("api", "one", f.incarnation), // a presence that was replaced has all uses written again
	}
}

// capture rotates twice and returns what was published on every subject. What
// the bus delivers by itself, and a failure, are made of what is like them.
func (f *fortress) capture() map[string][]*nats.Msg {
	f.t.Helper()
	f.rotate(f.t)
	f.rotate(f.t)
	n, k := f.ops.Names(), besieged.Key()
	failed := manual(f.specs[0], f.m.Secret(besieged).Get().Version.ID)
	failed.Type, failed.Data.VersionID = events.TypeRotationFailed, "long-gone"
	failed.Data.Failure = &events.Failure{Step: "verify", Code: "quarantined", Message: "long ago"}
	if err := f.ops.Publish(f.t.Context(), failed); err != nil {
		f.t.Fatal(err)
	}
	waittest.Until(f.t, "the failure is published", func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.captured[n.Event(failed.Type, k)]) == 0 {
			return errors.New("the failure did not pass by")
		}
		return nil
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	out := maps.Clone(f.captured)
	for _, m := range out[n.RetireTimer(k)] {
		due := replay(m)
		due.Subject = n.Event(events.TypeRetire, k)
		for _, h := range []string{"Nats-Schedule", "Nats-Schedule-Target"} {
			due.Header.Del(h)
		}
		out[due.Subject] = append(out[due.Subject], due)
	}
	return out
}

// rotate asks for a rotation and waits until the service runs the new version
// and the one before is retired.
func (f *fortress) rotate(t *testing.T) {
	t.Helper()
	from := f.m.Secret(besieged).Get().Version.ID
	if err := f.ops.RotateNow(t.Context(), manual(f.specs[0], from)); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the rotation is over", func() error {
		now := f.m.Secret(besieged).Get().Version.ID
		if now == from {
			return errors.New("the service runs the version before")
		}
		last, err := f.ops.Last(t.Context(), events.TypeRollout, besieged)
		if err != nil || last.Event.Data.VersionID != now || last.Event.Data.Rollout.State != events.RolloutRetired {
			return fmt.Errorf("the rollout of %s is not over: that of %s is %+v, err %w", now, last.Event.Data.VersionID, last.Event.Data.Rollout, err)
		}
		return nil
	})
}

// quiet waits until no program has anything left to do, and everything stands as it
// should: the sweep's timer, the secret's timer, the log and the report.
func (f *fortress) quiet(t *testing.T) {
	t.Helper()
	waittest.Until(t, "nothing is left to do", func() error {
		for _, c := range []string{events.WorkerConsumer, events.SchedulerConsumer, events.NotifierConsumer} {
			if n, err := f.ops.Waiting(t.Context(), c); err != nil || n > 0 {
				return fmt.Errorf("%d messages wait for %s, err %w", n, c, err)
			}
		}
		now := f.m.Secret(besieged).Get().Version.ID
		timer, err := f.ops.Timer(t.Context(), events.TypeNearExpiry, besieged)
		if err != nil || timer.Event.Data.VersionID != now || time.Until(timer.At) < time.Hour {
			return fmt.Errorf("the timer is for %s at %s, err %w", timer.Event.Data.VersionID, timer.At, err)
		}
		if last, err := f.ops.Last(t.Context(), events.TypeRotated, besieged); err != nil || last.Event.Data.VersionID != now {
			return fmt.Errorf("the log says that %s is current, err %w", last.Event.Data.VersionID, err)
		}
		users, err := live(t.Context(), f.ops, besieged)
		if err != nil || len(users) != 1 || users[0].Use.VersionID != now {
			return fmt.Errorf("the users that live are %+v, err %w", users, err)
		}
		return nil
	})
}

// rejected returns how many messages have been counted as rejected.
func (f *fortress) rejected() (n int64) {
	f.t.Helper()
	var all metricdata.ResourceMetrics
	if err := f.reader.Collect(f.t.Context(), &all); err != nil {
		f.t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != "rotator.events.rejected" {
				continue
			}
			for _, p := range sum.DataPoints {
				n += p.Value
			}
		}
	}
	return n
}

// versions returns what the store holds.
func (f *fortress) versions() []secret.Version {
	f.t.Helper()
	nc := f.broker.connect()
	defer nc.Close()
	return describe(f.t, f.catalog(nc), besieged).Versions
}
