package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	benchSecrets     = 512 // rotated in each round
	benchServices    = 8   // that share the secrets
	benchConcurrency = 16  // of the worker
	benchFollowers   = 16  // rollouts moved at once
)

// BenchmarkRotations measures whole rotations: from a due secret to a rollout
// that has converged, with a worker, a notifier and services on the embedded
// store. In the same run the bus alone is given the same messages, without a
// store, signatures or decisions: that is the ceiling.
func BenchmarkRotations(b *testing.B) {
	for _, always := range []bool{true, false} {
		name := map[bool]string{true: "sync_interval=always", false: "sync_interval=default"}[always]
		b.Run(name, func(b *testing.B) {
			whole := newWhole(b, always)
			whole.round() // services have every secret, the log has one of each event
			bare := newBare(b, always, whole)
			bare.round()
			whole.messages, bare.messages = 0, 0
			var took, least time.Duration
			rounds := 0
			for b.Loop() {
				took += whole.round()
				least += bare.round()
				rounds++
			}
			n := float64(rounds * benchSecrets)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(n/took.Seconds(), "rotations/s")
			b.ReportMetric(n/least.Seconds(), "bus-only/s")
			b.ReportMetric(least.Seconds()/took.Seconds(), "of-bus-only")
			b.ReportMetric(float64(whole.messages)/n, "messages")
			b.ReportMetric(float64(bare.messages)/n, "bus-only-messages")
		})
	}
}

// whole is a deployment whose secrets are rotated round by round.
type whole struct {
	*site
	tb       testing.TB
	nc       *nats.Conn
	bus      *events.Bus
	versions map[secret.ID]secret.VersionID
	done     chan events.Data // :: rollouts that have converged
	messages uint64
}

func newWhole(b *testing.B, always bool) *whole {
	b.Helper()
	var specs []secret.Spec
	for i, id := range ids("BENCH", benchSecrets) {
		specs = append(specs, secret.Spec{ID: id, Store: "embedded", TTL: 30 * 24 * time.Hour, Grace: time.Hour, Services: []string{benchService(i)}})
	}
	w := &whole{site: newSite(b, startBrokerWith(b, &broker{always: always}), specs...), tb: b, done: make(chan events.Data, 2*benchSecrets), versions: map[secret.ID]secret.VersionID{}}
	w.seed()
	w.nc = w.broker.connect()
	b.Cleanup(w.nc.Close)
	w.bus = w.site.bus(w.nc, "bench")
	c := w.catalog(w.nc)
	for _, s := range specs {
		w.versions[s.ID] = describe(b, c, s.ID).Current().ID
	}
	parts := []*process{w.run("notifier", w.notifier()), w.run("watch", w.watch)}
	for i := range benchServices {
		parts = append(parts, w.run(benchService(i), w.serve(i)))
	}
	b.Cleanup(func() {
		for _, p := range parts {
			p.stop()
		}
	})
	waittest.Until(b, "every service reports", func() error {
		for _, spec := range specs {
			if users, err := live(b.Context(), w.bus, spec.ID); err != nil || len(users) != 1 {
				return fmt.Errorf("%d instances use %s, err %w", len(users), spec.ID, err)
			}
		}
		return nil
	})
	return w
}

func benchService(i int) string { return fmt.Sprint("service-", i%benchServices) }

// serve holds the secrets of one service.
func (w *whole) serve(i int) func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error {
		var mine []secret.ID
		for j, spec := range w.specs {
			if benchService(j) == benchService(i) {
				mine = append(mine, spec.ID)
			}
		}
		m, err := client.New(ctx, client.Config{Service: benchService(i), Source: w.catalog(nc).source, IDs: mine, Bus: w.site.bus(nc, "service"), Logger: w.log})
		if err != nil {
			return err
		}
		<-ctx.Done()
		return m.Close(context.WithoutCancel(ctx))
	}
}

// watch sends every rollout that has converged, as a subscriber that checks
// nothing: what watching costs is not part of what is measured.
func (w *whole) watch(ctx context.Context, nc *nats.Conn) error {
	sub, err := nc.Subscribe(events.Names{}.Event(events.TypeRollout, "*"), func(m *nats.Msg) {
		var d events.Data
		if err := json.Unmarshal(m.Data, &d); err == nil && d.Rollout.State == events.RolloutConverged {
			w.done <- d
		}
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return sub.Unsubscribe()
}

// round rotates every secret once and returns how long it took from the moment
// at which a worker came up and found all of them due.
func (w *whole) round() time.Duration {
	w.tb.Helper()
	for _, s := range w.specs {
		if err := w.bus.RotateNow(w.tb.Context(), manual(s, w.versions[s.ID])); err != nil {
			w.tb.Fatal(err)
		}
	}
	before := stored(w.tb, w.nc)
	begin := time.Now()
	worker := w.run("worker", w.worker(benchConcurrency))
	for left := len(w.specs); left > 0; {
		// In the first round the versions that were written by hand roll out too.
		if d := <-w.done; d.VersionID != w.versions[d.SecretID] {
			left--
		}
	}
	took := time.Since(begin)
	worker.stop()
	w.messages += stored(w.tb, w.nc) - before
	c := w.catalog(w.nc)
	for _, s := range w.specs {
		v := describe(w.tb, c, s.ID).Current().ID
		if v == w.versions[s.ID] {
			w.tb.Fatalf("%s was not rotated", s.ID)
		}
		w.versions[s.ID] = v
	}
	return took
}

// stored returns how many messages the streams of the bus have taken so far.
func stored(tb testing.TB, nc *nats.Conn) (n uint64) {
	tb.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	names := events.Names{}
	for _, name := range []string{names.RotationStream(), names.RotatedStream(), names.NotifyStream()} {
		s, err := js.Stream(tb.Context(), name)
		if err != nil {
			tb.Fatal(err)
		}
		n += s.CachedInfo().State.LastSeq
	}
	return n
}

// bare is the bus alone with the same messages: each is a copy of a genuine
// one, each publication waits for its predecessor as it does there, and nothing
// is read, decided, signed or checked.
type bare struct {
	tb       testing.TB
	nc       *nats.Conn
	js       jetstream.JetStream
	names    events.Names
	keys     []secret.Key
	due      *nats.Msg   // :: templates
	worker   []*nats.Msg // what a worker publishes for each
	notifier []*nats.Msg // what a notifier publishes for each announcement
	follower []*nats.Msg // what it publishes once the service runs the version
	done     chan struct{}
	messages uint64
}

func newBare(b *testing.B, always bool, w *whole) *bare {
	b.Helper()
	br := startBrokerWith(b, &broker{always: always})
	newSite(b, br) // makes the streams
	x := &bare{tb: b, nc: br.connect(), done: make(chan struct{}, benchSecrets)}
	b.Cleanup(x.nc.Close)
	var err error
	if x.js, err = jetstream.New(x.nc); err != nil {
		b.Fatal(err)
	}
	first := w.specs[0].ID
	for _, spec := range w.specs {
		x.keys = append(x.keys, spec.ID.Key())
	}
	n, k := x.names, first.Key()
	timer := w.last(n.RotationStream(), n.Timer(k))
	x.due = nats.NewMsg(n.Event(events.TypeNearExpiry, k))
	x.due.Data = timer.Data
	x.worker = []*nats.Msg{w.last(n.RotatedStream(), n.Event(events.TypeRotated, k)), timer}
	x.notifier = []*nats.Msg{w.last(n.NotifyStream(), n.Notify(benchService(0), k))}
	rollout := w.last(n.RotatedStream(), n.Event(events.TypeRollout, k))
	x.follower = []*nats.Msg{rollout, rollout, rollout, w.last(n.RotationStream(), n.RetireTimer(k))}
	x.follow()
	x.consume(n.RotatedStream(), events.NotifierConsumer, benchFollowers, x.notifier)
	return x
}

// last returns a copy of the last message on a subject as it was published.
func (w *whole) last(stream, subject string) *nats.Msg {
	w.tb.Helper()
	js, err := jetstream.New(w.nc)
	if err != nil {
		w.tb.Fatal(err)
	}
	s, err := js.Stream(w.tb.Context(), stream)
	if err != nil {
		w.tb.Fatal(err)
	}
	raw, err := s.GetLastMsgForSubject(w.tb.Context(), subject)
	if err != nil {
		w.tb.Fatalf("%s: %v", subject, err)
	}
	m := nats.NewMsg(subject)
	m.Data = raw.Data
	for k, v := range raw.Header {
		if !strings.HasPrefix(k, "Nats-Expected") {
			m.Header[k] = v
		}
	}
	return m
}

// publish sends copies of the templates about another secret, one after the
// other.
func (x *bare) publish(k secret.Key, templates []*nats.Msg) {
	for _, t := range templates {
		m := &nats.Msg{Subject: x.renamed(t.Subject, k), Data: t.Data, Header: nats.Header{}}
		maps.Copy(m.Header, t.Header)
		if target := m.Header.Get(jetstream.ScheduleTargetHeader); target != "" {
			m.Header.Set(jetstream.ScheduleTargetHeader, x.renamed(target, k))
		}
		if _, err := x.js.PublishMsg(x.tb.Context(), m); err != nil && x.tb.Context().Err() == nil {
			x.tb.Errorf("%s: %v", m.Subject, err)
		}
	}
}

func (x *bare) renamed(subject string, k secret.Key) string {
	return strings.TrimSuffix(subject, string(x.keys[0])) + string(k)
}

// consume answers each message of a consumer with the templates, until stop is
// called.
func (x *bare) consume(stream, name string, concurrency int, templates []*nats.Msg) (stop func()) {
	x.tb.Helper()
	c, err := x.js.Consumer(x.tb.Context(), stream, name)
	if err != nil {
		x.tb.Fatal(err)
	}
	slots := make(chan struct{}, concurrency)
	var wg sync.WaitGroup
	consuming, err := c.Consume(func(m jetstream.Msg) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			x.publish(keyOf(m.Subject()), templates)
			if err := m.DoubleAck(context.WithoutCancel(x.tb.Context())); err != nil {
				x.tb.Errorf("ack: %v", err)
			}
		})
	})
	if err != nil {
		x.tb.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		consuming.Stop()
		<-consuming.Closed()
		wg.Wait()
	})
	x.tb.Cleanup(stop)
	return stop
}

func keyOf(subject string) secret.Key {
	return secret.Key(subject[strings.LastIndexByte(subject, '.')+1:])
}

// follow takes what the services hear for their report.
func (x *bare) follow() {
	x.tb.Helper()
	heard := make(chan secret.Key, benchSecrets)
	sub, err := x.nc.Subscribe(x.names.Live("*", "*"), func(m *nats.Msg) { heard <- keyOf(m.Subject) })
	if err != nil {
		x.tb.Fatal(err)
	}
	var wg sync.WaitGroup
	for range benchFollowers {
		wg.Go(func() {
			for k := range heard {
				x.publish(k, x.follower)
				x.done <- struct{}{}
			}
		})
	}
	x.tb.Cleanup(func() {
		_ = sub.Unsubscribe() // fails only on a closed connection
		close(heard)
		wg.Wait()
	})
}

func (x *bare) round() time.Duration {
	x.tb.Helper()
	for _, k := range x.keys {
		x.publish(k, []*nats.Msg{x.due})
	}
	before := stored(x.tb, x.nc)
	begin := time.Now()
	stop := x.consume(x.names.RotationStream(), events.WorkerConsumer, benchConcurrency, x.worker)
	for range x.keys {
		<-x.done
	}
	took := time.Since(begin)
	stop()
	x.messages += stored(x.tb, x.nc) - before
	return took
}
