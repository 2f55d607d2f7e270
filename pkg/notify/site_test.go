//go:build !race

package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// site is a server in a bubble of fake time, and what lives around it.
type site struct {
	t   *testing.T
	srv *eventstest.Server
	bus *events.Bus
	js  jetstream.JetStream

	mu       sync.Mutex
	specs    map[secret.ID]secret.Spec
	catalogs []*catalog.Catalog
	seen     []events.Announcement // the rollout events, in the order of the log
	renewing map[string]func()     // :: service/instance → ends its renewals
}

const lease = 10 * time.Second

// onSite runs a test on a server of its own, in fake time. These tests do not
// run in parallel: the NATS client pools timers for the whole process, and one
// of another bubble is of no use. Two collections empty the pool. A file that
// calls it says !race: the runtime crashes under the race detector.
func onSite(t *testing.T, test func(*testing.T, *site)) {
	t.Helper()
	runtime.GC()
	runtime.GC()
	synctest.Test(t, func(t *testing.T) { test(t, newSite(t)) })
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, srv: eventstest.NewServer(t), specs: map[secret.ID]secret.Spec{}, renewing: map[string]func(){}}
	s.bus = s.srv.NewBus(events.StreamOptions{Memory: true})
	s.js = s.jetStream()
	ctx, cancel := context.WithCancel(t.Context())
	var history sync.WaitGroup
	history.Go(func() { s.record(ctx) })
	t.Cleanup(func() {
		cancel()
		history.Wait()
	})
	return s
}

// connect returns a bus on a connection of its own.
func (s *site) connect() *events.Bus { return s.srv.Bus(s.srv.Signer, s.srv.Signer) }

func (s *site) jetStream() jetstream.JetStream {
	s.t.Helper()
	js, err := jetstream.New(s.srv.Connect())
	if err != nil {
		s.t.Fatal(err)
	}
	return js
}

// record keeps every rollout event.
func (s *site) record(ctx context.Context) {
	err := s.bus.WatchLog(ctx, []events.Type{events.TypeRollout}, func(_ context.Context, a events.Announcement) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, a)
		return nil
	}, nil)
	if err != nil {
		s.t.Error(err)
	}
}

// states returns what was published about a version, in order.
func (s *site) states(id secret.ID, v secret.VersionID) []events.RolloutState {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []events.RolloutState
	for _, a := range s.seen {
		if a.Event.Data.SecretID == id && a.Event.Data.VersionID == v {
			out = append(out, a.Event.Data.Rollout.State)
		}
	}
	return out
}

// last returns the last rollout event of a secret.
func (s *site) last(id secret.ID) events.Data {
	s.t.Helper()
	a, err := s.bus.Last(s.t.Context(), events.TypeRollout, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return a.Event.Data
}

// configure configures a secret whose fence is short, so that its grace period says
// when it is retired.
func (s *site) configure(spec secret.Spec) {
	spec.Fence = cmp.Or(spec.Fence, time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.specs[spec.ID] = spec
	for _, c := range s.catalogs {
		if err := c.Replace(catalog.Entry{Spec: spec, Origin: catalog.Configured}); err != nil {
			s.t.Error(err)
		}
	}
}

// catalog returns a catalog of its own for one more notifier.
func (s *site) catalog() *catalog.Catalog {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := catalog.New(catalog.Config{Specs: slices.Collect(maps.Values(s.specs))})
	if err != nil {
		s.t.Fatal(err)
	}
	s.catalogs = append(s.catalogs, c)
	return c
}

// peer is a notifier that runs.
type peer struct {
	*Notifier
	site *site
	log  *waittest.Buffer
	stop func()
}

// start runs a notifier, on a connection of its own, until its stop is called
// or the test ends. wrap may stand between it and the bus.
func (s *site) start(change ...func(*Config)) *peer {
	s.t.Helper()
	log := &waittest.Buffer{}
	cfg := Config{Bus: s.connect(), Catalog: s.catalog(), Source: "/test/notifier", Logger: slog.New(slog.NewTextHandler(log, nil))}
	for _, c := range change {
		c(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	p := &peer{Notifier: n, site: s, log: log, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("run: %v", err)
		}
	})}
	s.t.Cleanup(p.stop)
	return p
}

// wrap puts something between a notifier and its bus.
func wrap(w func(Bus) Bus) func(*Config) {
	return func(cfg *Config) { cfg.Bus = w(cfg.Bus) }
}

func (p *peer) ready() *peer {
	p.site.t.Helper()
	p.site.until("the notifier is ready", p.Ready)
	return p
}

func (p *peer) status() status {
	for _, s := range p.tracker.snapshot() {
		if s.SecretID == id {
			return s
		}
	}
	return status{}
}

// until lets time pass until cond holds, at most some minutes.
func (s *site) until(what string, cond func() bool) {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// becomes waits until exactly these states have been published for a version.
func (s *site) becomes(id secret.ID, v secret.VersionID, want ...events.RolloutState) {
	s.t.Helper()
	s.until("the rollout has moved", func() bool { return len(s.states(id, v)) >= len(want) })
	time.Sleep(time.Second) // let one too many come
	if got := s.states(id, v); !slices.Equal(got, want) {
		s.t.Fatalf("%s %s was published as %v, want %v", id, v, got, want)
	}
}

// announce publishes that version v replaced was.
func (s *site) announce(id secret.ID, v, was secret.VersionID) {
	s.t.Helper()
	last, err := s.bus.Last(s.t.Context(), events.TypeRotated, id)
	if err != nil {
		s.t.Fatal(err)
	}
	e := events.Rotated("/test/worker", time.Now(), events.Data{SecretID: id, Store: "mem", VersionID: v, PreviousVersionID: was, Reason: events.ReasonManual})
	if _, err := s.bus.PublishAfter(s.t.Context(), e, last.Seq); err != nil {
		s.t.Fatal(err)
	}
}

// ranOnce records that an instance of api runs v1 of some secrets. It serves on past
// its fence, accepts nothing else, and does not renew its presence.
func (s *site) ranOnce(instance string, ids ...secret.ID) {
	s.t.Helper()
	s.use("api", instance, "v1", nil, ids...)
	s.join("api", instance, lease)
}

// runs records what an instance runs of some secrets, and renews its presence until
// the test ends.
func (s *site) runs(service, instance string, v secret.VersionID, ids ...secret.ID) {
	s.t.Helper()
	s.use(service, instance, v, nil, ids...)
	s.join(service, instance, longLease)
	s.mu.Lock()
	defer s.mu.Unlock()
	if who := service + "/" + instance; s.renewing[who] == nil {
		ctx, cancel := context.WithCancel(s.t.Context())
		s.renewing[who] = cancel
		go s.renew(ctx, service, instance)
	}
}

// renew renews the presence of an instance until ctx ends.
func (s *site) renew(ctx context.Context, service, instance string) {
	every := time.NewTicker(longLease / 3)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			s.join(service, instance, longLease)
		}
	}
}

// use records what an instance does with some secrets.
func (s *site) use(service, instance string, v secret.VersionID, change func(*events.Use), ids ...secret.ID) {
	s.t.Helper()
	for _, id := range ids {
		u := events.Use{
			Running: events.Running{SecretID: id, VersionID: v, Status: events.StatusApplied, At: time.Now()},
			Service: service, Instance: instance, Incarnation: "i" + instance, Accepts: []secret.VersionID{}, PastFence: events.PastFenceServe, Joined: true,
		}
		if change != nil {
			change(&u)
		}
		if err := s.bus.WriteUse(s.t.Context(), u); err != nil {
			s.t.Error(err)
		}
	}
}

func presenceOf(service, instance string, lease time.Duration) events.Presence {
	return events.Presence{Service: service, Instance: instance, Incarnation: "i" + instance, At: time.Now(), StartedAt: time.Now(), Lease: int(lease.Seconds())}
}

func (s *site) join(service, instance string, lease time.Duration) {
	s.t.Helper()
	if _, err := s.bus.Join(s.t.Context(), presenceOf(service, instance, lease)); err != nil && s.t.Context().Err() == nil {
		s.t.Error(err)
	}
}

// end has an instance say that it has ended.
func (s *site) end(service, instance string) {
	s.t.Helper()
	s.mu.Lock()
	if cancel := s.renewing[service+"/"+instance]; cancel != nil {
		cancel()
	}
	s.mu.Unlock()
	p := presenceOf(service, instance, lease)
	p.Ended = true
	if _, err := s.bus.Join(s.t.Context(), p); err != nil {
		s.t.Fatal(err)
	}
}

// forget purges the records of an instance, as an operator does.
func (s *site) forget(service, instance string, ids ...secret.ID) {
	s.t.Helper()
	f, err := s.bus.Instance(s.t.Context(), service, instance, "i"+instance)
	if err == nil {
		err = s.bus.Forget(s.t.Context(), service, instance, "i"+instance, ids, f.Seq)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// raw publishes any body as the use of a secret by an instance.
func (s *site) raw(service, instance string, id secret.ID, body string) {
	s.t.Helper()
	if _, err := s.js.Publish(s.t.Context(), s.bus.Names().Use(id.Key(), service, "i"+instance), []byte(body)); err != nil {
		s.t.Fatal(err)
	}
}

// told returns the version of the test's secret of which a service was notified
// last.
func (s *site) told(service string) secret.VersionID {
	s.t.Helper()
	return s.lastNotified(service).VersionID
}

// lastNotified returns what a service was told last of the test's secret, as the leader
// has it: any server answers a service.
func (s *site) lastNotified(service string) events.Data {
	s.t.Helper()
	js, err := s.js.Conn().JetStream()
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := js.GetLastMsg(s.bus.Names().NotifyStream(), s.bus.Names().Notify(service, id.Key()))
	if errors.Is(err, nats.ErrMsgNotFound) {
		return events.Data{}
	}
	var body events.Body
	if err == nil {
		err = json.Unmarshal(m.Data, &body)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return body.Data
}

// orders takes every order to retire, and returns a function that lists them.
func (s *site) orders() func() []events.Data {
	var all []events.Data
	s.work(func(d events.Delivery) {
		s.mu.Lock()
		defer s.mu.Unlock()
		all = append(all, d.Event.Data)
	})
	return func() []events.Data {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(all)
	}
}

// work takes what workers take, until the test ends.
func (s *site) work(do func(events.Delivery)) {
	bus := s.connect()
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- bus.Consume(ctx, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(_ context.Context, d events.Delivery) error {
			do(d)
			return nil
		})
	}()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

// retire closes a rollout the way a worker does.
func (s *site) retire(d events.Delivery) {
	last, err := s.bus.Last(context.Background(), events.TypeRollout, d.Event.Data.SecretID)
	if err != nil {
		s.t.Error(err)
		return
	}
	if _, err := s.bus.PublishAfter(context.Background(), rollout.Retired("/test/worker", time.Now(), d.Event.Data, 1), last.Seq); err != nil {
		s.t.Error(err)
	}
}

// live lets fake time pass.
func live(d time.Duration) { time.Sleep(d) }

// pass lets time pass.
func (s *site) pass(d time.Duration) { time.Sleep(d) }
