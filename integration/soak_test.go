//go:build !race

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

var (
	soakFor  = flag.Duration("soak.for", 2*time.Minute, "for how long TestRealProcesses rotates and does harm")
	soakSeed = flag.Uint64("soak.seed", 0, "the seed of the faults of TestRealProcesses, 0 for a new one")
)

const (
	// soakInstances is the number of instances of each service.
	soakInstances = 10
	// soakAgentLease is the lease of an agent.
	soakAgentLease = client.DefaultLease
	// soakPace is the pause between two requests of a caller. An instance has two.
	soakPace = 200 * time.Millisecond
)

// soak is a deployment with three services, whose instances are processes.
type soak struct {
	*site
	t          *testing.T
	python     string // the interpreter
	notifier   string // the program
	trustedKey string // a file
	book       *soakBook
	hosts      []*soakHost
	bus        *events.Bus
	store      *store.Store
	harming    sync.WaitGroup // faults
	work       sync.WaitGroup // callers

	mu       sync.Mutex // guards the fields below
	checks   []soakCheck
	deaths   map[string]time.Time // :: instance that was killed → when it was gone
	done     map[string]int       // :: kind of a fault → how many
	problems []string
	renewals map[string][]time.Time // :: instance → when each of its presences was stored
}

// TestRealProcesses has three services of ten instances each, with the client in Go,
// the client in Python and an agent, under continuous rotation and requests, while
// processes are killed and stopped, and cut off from the bus and the store. After a
// version was retired no check lets it pass, and before that none refuses it but for a
// reason that the test knows; every rollout ends; and what was killed holds nothing
// for longer than its fence.
func TestRealProcesses(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("the faults are those of -soak.for=%s -soak.seed=%d", *soakFor, seed)
	s := newSoak(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.startAll(ctx)
	s.call(ctx, seed)
	begin := time.Now()
	s.harm(ctx, soakPlan(seed, *soakFor, len(s.hosts), 2*soakInstances))
	waitFor(ctx, soakLease) // for the first fault
	rotating, stop := context.WithDeadline(ctx, begin.Add(*soakFor))
	defer stop()
	s.rotateAll(rotating, seed)
	s.settle()
	cancel()
	s.work.Wait()
	s.report()
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	spec := secret.Spec{Store: "embedded", TTL: time.Hour, Grace: soakGrace, Fence: soakFence, Deadline: 10 * time.Second}
	everywhere, checked, prepared := spec, spec, spec
	everywhere.ID, everywhere.Services = "EVERYWHERE", []string{soakGo, soakPy, soakAgent}
	checked.ID, checked.Services = "CHECKED", []string{soakGo, soakPy}
	prepared.ID, prepared.Services, prepared.Rollout = "PREPARED", checked.Services, secret.RolloutPrepare
	prepared.Deadline = time.Minute // also of the wait until every instance has it
	s := &soak{t: t, site: newSite(t, startBroker(t, true), everywhere, checked, prepared), book: newSoakBook(), deaths: map[string]time.Time{}, done: map[string]int{}, renewals: map[string][]time.Time{}}
	s.backend = services["vault"](t)
	soakTools(s)
	s.seed()
	nc := s.broker.connect()
	t.Cleanup(nc.Close)
	s.bus = s.site.bus(nc, "soak")
	c := s.catalog(nc)
	for _, spec := range s.specs {
		_, st, err := c.locate(spec.ID)
		if err != nil {
			t.Fatal(err)
		}
		s.store = st
		s.promoted(spec.ID, describe(t, c, spec.ID).Current().ID, time.Time{})
	}
	p := s.run("rotator", s.scheduler(time.Minute), s.worker(2), s.site.notifier())
	t.Cleanup(p.stop)
	w := s.run("watch", s.watch, s.watchRenewals)
	t.Cleanup(w.stop)
	return s
}

// watch keeps the book.
func (s *soak) watch(ctx context.Context, nc *nats.Conn) error {
	return s.site.bus(nc, "watch").WatchLog(ctx, []events.Type{events.TypeRotated, events.TypeRollout}, func(_ context.Context, a events.Announcement) error {
		if d := a.Event.Data; a.Event.Type == events.TypeRotated {
			s.promoted(d.SecretID, d.VersionID, a.At)
		} else {
			s.book.moved(d)
		}
		return nil
	}, nil)
}

// watchRenewals notes when every presence was stored.
func (s *soak) watchRenewals(ctx context.Context, nc *nats.Conn) error {
	return s.site.bus(nc, "renewals").WatchFleet(ctx, func(e events.FleetEvent) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p := e.Presence; p != nil {
			s.renewals[p.Instance] = append(s.renewals[p.Instance], e.At)
		}
		return nil
	})
}

// promoted reads the value of a version that is current, for callers.
func (s *soak) promoted(id secret.ID, v secret.VersionID, at time.Time) {
	for _, spec := range s.specs {
		if spec.ID != id {
			continue
		}
		_, value, err := s.store.Get(s.t.Context(), spec.StorePath(), store.Selector{Version: v})
		if err != nil {
			s.problem("read version %s of %s: %v", v, id, err)
			return
		}
		s.book.promoted(id, v, string(value.Reveal()), at)
	}
}

func (s *soak) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// killed notes that an instance was killed.
func (s *soak) killed(instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaths[instance] = time.Now()
}

// startAll starts the instances, some at a time, and waits until all are on record.
func (s *soak) startAll(ctx context.Context) {
	s.t.Helper()
	for _, kind := range []string{soakGo, soakPy, soakAgent} {
		specs := s.specs
		if kind == soakAgent {
			specs = specs[:1]
		}
		for n := range soakInstances {
			s.hosts = append(s.hosts, newSoakHost(s, kind, n, specs))
		}
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, 4)
	for _, h := range s.hosts {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			if err := h.start(ctx); err != nil {
				s.problem("%v", err)
			}
		})
	}
	wg.Wait()
	waittest.Until(s.t, "every instance is on record", func() error {
		for _, spec := range s.specs {
			users, err := live(ctx, s.bus, spec.ID)
			if want := len(spec.Services) * soakInstances; err == nil && len(users) != want {
				err = fmt.Errorf("%d of %d live", len(users), want)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// call has every instance called by two callers until ctx ends: one sends the version
// that is to be used, the other one any of the last.
func (s *soak) call(ctx context.Context, seed uint64) {
	for i, h := range s.hosts {
		for old := range 2 {
			r := rand.New(rand.NewPCG(seed, uint64(2*i+old)))
			s.work.Go(func() { s.caller(ctx, h, r, old == 1) })
		}
	}
	s.work.Go(func() { s.watchDeaths(ctx) })
}

func (s *soak) caller(ctx context.Context, h *soakHost, r *rand.Rand, old bool) {
	tick := time.NewTicker(soakPace)
	defer tick.Stop()
	for {
		spec := h.specs[r.IntN(len(h.specs))]
		s.ask(ctx, h, spec.ID, s.book.pick(r, spec, old))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask has an instance check a version, and waits for the answer: of a process that is
// stopped until it goes on, of one that is killed until the connection is gone.
func (s *soak) ask(ctx context.Context, h *soakHost, id secret.ID, v soakVersion) {
	conn, instance, err := h.dial(ctx)
	if err != nil {
		return // it is about to be started again
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	answer, err := exchange(conn, id, v.value)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, soakCheck{h, instance, id, v.id, time.Unix(0, answer.Began), time.Unix(0, answer.Ended), answer})
}

func exchange(conn net.Conn, id secret.ID, token string) (answer soakAnswer, err error) {
	if _, err := fmt.Fprintf(conn, "%s %s\n", id, token); err != nil {
		return answer, err
	}
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(line, &answer)
}

// watchDeaths reads the fleet again and again. What a killed instance blocks ends with
// its fence, for which the server may have stored a renewal when the process was gone.
func (s *soak) watchDeaths(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, spec := range s.specs {
			v := s.book.newest(spec.ID)
			f, err := s.bus.Fleet(ctx, spec.ID)
			if err != nil {
				continue // it was incomplete, or the end has come
			}
			is := rollout.Question{Spec: spec, VersionID: v.id, Unstaged: true, Promoted: v.rotated}.Ask(f)
			s.heldByTheDead(spec, f, v, append(is.Blocking, is.Accepting...))
		}
	}
}

func (s *soak) heldByTheDead(spec secret.Spec, f events.Fleet, v soakVersion, held []events.Blocker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range held {
		gone, ok := s.deaths[b.Instance]
		if !ok {
			continue
		}
		from := gone.Add(soakLease)
		if v.rotated.After(from) {
			from = v.rotated
		}
		if end := rollout.Floor(from, soakFence); f.At.After(end) {
			s.problems = append(s.problems, fmt.Sprintf("%s holds %s since it was killed at %s, at %s still: %s", b.Instance, spec.ID, gone, f.At, b))
		}
	}
}

// rotateAll rotates every secret until ctx ends.
func (s *soak) rotateAll(ctx context.Context, seed uint64) {
	var wg sync.WaitGroup
	for i, spec := range s.specs {
		r := rand.New(rand.NewPCG(seed, 1000+uint64(i)))
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := s.rotateOnce(ctx, spec, r); err != nil {
					s.problem("rotate %s: %v", spec.ID, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// rotateOnce rotates a secret, and then waits until the version before is retired, or
// not that long.
func (s *soak) rotateOnce(ctx context.Context, spec secret.Spec, r *rand.Rand) error {
	from := s.book.newest(spec.ID).id
	s.book.ask(spec.ID)
	if err := s.bus.RotateNow(context.WithoutCancel(ctx), manual(spec, from)); err != nil {
		return err
	}
	promoting, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	if !s.book.until(promoting, spec.ID, func(all []soakVersion) bool { return all[len(all)-1].id != from }) {
		return errors.New("no version follows " + string(from))
	}
	patience := 2 * soakAgentLease
	if r.IntN(4) == 0 {
		patience = time.Duration(r.Int64N(int64(soakFence + soakGrace)))
	}
	ctx, cancel = context.WithTimeout(ctx, patience)
	defer cancel()
	s.book.until(ctx, spec.ID, func(all []soakVersion) bool { return all[len(all)-1].state == events.RolloutRetired })
	return nil
}

// settle waits until every fault is over and every rollout has ended.
func (s *soak) settle() {
	s.t.Helper()
	s.harming.Wait()
	waittest.Until(s.t, "every rollout has ended", func() error {
		for _, spec := range s.specs {
			if v := s.book.newest(spec.ID); v.state != events.RolloutRetired {
				return fmt.Errorf("%s version %s is %s, blocked by %v", spec.ID, v.id, v.state, v.blocking)
			}
		}
		return nil
	})
}

// report fails the test with everything that was wrong, and prints what was done.
func (s *soak) report() {
	s.t.Helper()
	v := s.judge()
	rotations := 0
	for _, spec := range s.specs {
		all, _ := s.book.all(spec.ID)
		rotations += len(all) - 1
		for _, what := range unaccounted(all) {
			s.t.Errorf("the rollout of %s is not accounted for: %s", spec.ID, what)
		}
		for _, version := range describe(s.t, s.catalog(nil), spec.ID).Versions {
			if version.Stage != secret.StageCurrent && !version.Empty {
				s.t.Errorf("%s: version %s is %s and has a value", spec.ID, version.ID, version.Stage)
			}
		}
	}
	for _, what := range s.problems {
		s.t.Error(what)
	}
	for _, what := range v.wrong {
		s.t.Errorf("%s; it logged:\n%s", what, what.check.host.logged())
	}
	if s.t.Failed() {
		s.t.Log(s.book)
	}
	cuts := s.done[soakCutBus] + s.done[soakCutStore] + s.done[soakCutBoth]
	s.t.Logf("%d rotations (states %v), %s; %d kills, %d stops, %d cuts", rotations, s.book.states, v, s.done[soakKill], s.done[soakStop], cuts)
}
