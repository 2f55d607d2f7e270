package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// fault is something that happens between a worker and its store.
type fault struct {
	name string
	// inject makes it happen, and returns how many calls at least have to meet
	// it for the test to be one.
	inject func(p *serverstest.Proxy) int
}

// times is a fault that befalls the next n calls that fit.
func times(n int, match func(string) bool, f serverstest.Fault) func(*serverstest.Proxy) int {
	return func(p *serverstest.Proxy) int {
		p.Inject(n, match, f)
		return max(n, 1)
	}
}

// faults are what may befall every store. puts and promotes tell the two calls of
// a rotation that write.
func faults(puts, promotes func(string) bool, throttled serverstest.Fault) []fault {
	writes := func(call string) bool { return puts(call) || promotes(call) }
	return []fault{
		{"every call takes long", times(-1, nil, serverstest.Delay(200*time.Millisecond))},
		{"connections are reset", times(5, nil, serverstest.Reset)},
		{"answers to writes are lost", times(2, writes, serverstest.LoseAnswer)},
		{"the put is done and times out", times(1, puts, serverstest.HangApplied)},
		{"the promotion is done and times out", times(1, promotes, serverstest.HangApplied)},
		{"every second write is done and its answer lost", func(p *serverstest.Proxy) int {
			for range 2 {
				p.Inject(1, puts, serverstest.LoseAnswer)
				p.Inject(1, promotes, serverstest.HangApplied)
			}
			return 2
		}},
		{"calls hang", times(3, nil, serverstest.Hang)},
		{"the server has errors", times(12, nil, serverstest.Answer(http.StatusServiceUnavailable, ""))},
		{"a gateway answers", times(6, nil, serverstest.Answer(http.StatusBadGateway, "<html>"))},
		{"a burst of throttling", times(12, nil, throttled)},
		{"the credentials have expired for a while", times(3, nil, serverstest.Answer(http.StatusForbidden, `{"__type":"ExpiredTokenException","errors":["permission denied"]}`))},
	}
}

func is(action string) func(string) bool { return func(call string) bool { return call == action } }

func under(prefix string) func(string) bool {
	return func(call string) bool { return strings.HasPrefix(call, prefix) }
}

// TestFaultsBetweenWorkerAndStore drives one rotation through each thing that may
// happen on the way to a store: none is lost, none is done twice, and no reader has
// to help.
func TestFaultsBetweenWorkerAndStore(t *testing.T) {
	t.Parallel()
	kinds := map[string][]fault{
		"aws":   faults(is("PutSecretValue"), is("UpdateSecretVersionStage"), serverstest.Throttled),
		"vault": faults(under("PUT /v1/secret/data/rotator-state/"), under("PUT /v1/secret/data/FAULT"), serverstest.Answer(http.StatusTooManyRequests, "")),
	}
	for kind, faults := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := services[kind](t)
			for i, f := range faults {
				t.Run(f.name, func(t *testing.T) {
					t.Parallel()
					front := serverstest.StartProxy(t, server.URL)
					where := server
					where.URL = front.URL
					r := newRotation(t, where, secret.ID(fmt.Sprintf("FAULT_%02d", i)))
					want := f.inject(front)
					r.begin()
					r.end()
					if got := front.Hits(); got < want {
						t.Errorf("%d calls met the fault, want %d", got, want)
					}
				})
			}
		})
	}
}

// TestServerOfVaultGoesAndComesBack takes a server that keeps its data through a
// crash, seals it, and revokes the worker's token, each in the middle of a
// rotation. The worker logs in as the deployment tells it to.
func TestServerOfVaultGoesAndComesBack(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartSealedBao(t)
	policy, err := os.ReadFile("../deployments/vault/rotator.hcl")
	if err != nil {
		t.Fatal(err)
	}
	front := serverstest.StartProxy(t, bao.URL)
	where := service{Kind: "vault", URL: front.URL, Role: bao.AppRole(t, "rotator", string(policy), "1h")}
	met := func() { // some call has met what was done to the server
		front.Take()
		waittest.Until(t, "the driver calls its store", func() error {
			if len(front.Take()) == 0 {
				return errors.New("no call was made")
			}
			return nil
		})
	}
	for i, c := range []struct {
		name string
		do   func(r *oneRotation)
	}{
		{"sealed before it begins", func(r *oneRotation) {
			bao.Seal(t)
			r.begin()
			met()
			bao.Unseal(t)
		}},
		{"killed between the put and the promotion, and sealed when it is back", func(r *oneRotation) {
			front.Inject(-1, under("PUT /v1/secret/data/VAULT"), serverstest.Answer(http.StatusServiceUnavailable, ""))
			r.begin()
			waittest.Until(t, "the worker promotes", func() error {
				if front.Hits() == 0 {
					return errors.New("nothing is to be promoted yet")
				}
				return nil
			})
			front.Heal()
			bao.Restart(t)
			met()
			bao.Unseal(t)
		}},
		{"the worker's token is revoked", func(r *oneRotation) {
			bao.Revoke(t, "auth/approle/login")
			r.begin()
		}},
	} {
		r := newRotation(t, where, secret.ID(fmt.Sprintf("VAULT_%02d", i)))
		t.Log(c.name)
		c.do(r)
		r.end()
	}
}

// oneRotation is a site of its own with one secret and a worker.
type oneRotation struct {
	*site
	t    *testing.T
	spec secret.Spec
	nc   *nats.Conn
	bus  *events.Bus
	from secret.VersionID
	work *process
}

// newRotation writes a first version and starts a worker that is impatient.
func newRotation(t *testing.T, where service, id secret.ID) *oneRotation {
	t.Helper()
	spec := secret.Spec{ID: id, Store: "embedded", TTL: time.Hour}
	r := &oneRotation{site: newSiteWith(t, startBroker(t, false), events.StreamOptions{}, spec), t: t, spec: spec}
	r.backend, r.timeout, r.retries, r.circuit = where, 2*time.Second, time.Second, store.Circuit{OpenFor: 300 * time.Millisecond}
	r.seed()
	r.nc = r.broker.connect()
	t.Cleanup(r.nc.Close)
	r.bus = r.site.bus(r.nc, "test")
	r.from = describe(t, r.catalog(r.nc), id).Current().ID
	r.work = r.run("worker", r.worker(2))
	return r
}

// begin asks for the rotation.
func (r *oneRotation) begin() {
	r.t.Helper()
	if err := r.bus.RotateNow(r.t.Context(), manual(r.spec, r.from)); err != nil {
		r.t.Fatal(err)
	}
}

// end waits until it is over, as its last step shows, and looks at what came of
// it.
func (r *oneRotation) end() {
	r.t.Helper()
	waittest.Until(r.t, "the rotation has finished", func() error {
		return rotatedFrom(r.t.Context(), r.bus, r.nc, r.spec.ID, r.from)
	})
	r.work.stop()
	r.survived(r.t, r.nc, r.bus, r.spec, "in the end")
	if failed := logOf(r.t, r.nc, events.TypeRotationFailed); len(failed) > 0 {
		r.t.Errorf("it was given up: %+v", failed)
	}
}

// TestADeadStoreStarvesNoOther gives four workers forty secrets in a store that
// hangs and, behind them in the queue, forty in one that works. Without a circuit
// every one of the first would hold a worker until its call timed out.
func TestADeadStoreStarvesNoOther(t *testing.T) {
	t.Parallel()
	const n, workers = 40, 4
	bao := serverstest.StartBao(t)
	front := serverstest.StartProxy(t, bao.URL)
	var specs []secret.Spec
	for _, name := range []string{"dead", "alive"} {
		for _, id := range ids(strings.ToUpper(name), n) {
			specs = append(specs, secret.Spec{ID: id, Store: name, TTL: time.Hour, Create: true})
		}
	}
	s := newSite(t, startBroker(t, false), specs...)
	nc := s.broker.connect()
	defer nc.Close()
	var stores []*store.Store
	for name, where := range map[string]service{"dead": {Kind: "vault", URL: front.URL, Token: bao.Root}, "alive": {}} {
		d, err := where.open(t.Context(), nc, s.master)
		if err != nil {
			t.Fatal(err)
		}
		st, err := store.New(name, d, &store.Options{Logger: s.log, Circuit: store.Circuit{Stall: time.Second, OpenFor: 2 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, st)
	}
	c, err := manage(specs, stores...)
	if err != nil {
		t.Fatal(err)
	}
	bus := s.bus(nc, "test")
	for _, spec := range specs {
		if err := bus.RotateNow(t.Context(), manual(spec, "")); err != nil {
			t.Fatal(err)
		}
	}
	front.Inject(-1, nil, serverstest.Hang)
	work := s.run("worker", s.workerOn(c, workers))
	all := func(name string) func() error {
		return func() error {
			for _, id := range ids(strings.ToUpper(name), n) {
				last, err := bus.Last(t.Context(), events.TypeRotated, id)
				if err != nil {
					return err
				}
				if last.Seq == 0 {
					return fmt.Errorf("%s has not rotated", id)
				}
			}
			return nil
		}
	}
	waittest.Until(t, "the secrets of the store that works have rotated", all("alive"))
	if calls := len(front.Take()); calls == 0 || calls >= n {
		t.Errorf("%d calls reached the dead store before the other was done, want some and not one for each of its %d secrets", calls, n)
	}
	front.Heal()
	waittest.Until(t, "the secrets of the other have rotated, too", all("dead"))
	work.stop()
}
