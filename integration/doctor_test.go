package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// patient is a single node that runs, and what the doctor reads of it.
type patient struct {
	t        *testing.T
	cfg, dir string
	js       jetstream.JetStream
	bus      *events.Bus
	store    *natskv.Driver
}

// finding is what the doctor prints as JSON.
type finding struct {
	Code, Severity, Subject, Message, Remedy string
	Fixed                                    bool
}

// admit connects to the node of a configuration, as its operator.
func admit(t *testing.T, cfg string) *patient {
	t.Helper()
	p := &patient{t: t, cfg: cfg, dir: filepath.Join(filepath.Dir(cfg), "data")}
	text, err := os.ReadFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, listen, _ := strings.Cut(string(text), "listen: \"")
	listen, _, _ = strings.Cut(listen, "\"")
	login, err := nats.NkeyOptionFromSeed(filepath.Join(p.dir, "operator.nk"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("nats://"+listen, login)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if p.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	key, err := events.LoadSigner(filepath.Join(p.dir, "signing.key"))
	if err != nil {
		t.Fatal(err)
	}
	if p.bus, err = events.New(nc, events.Config{Signer: key, Verifier: events.NewVerifier(key.Public()), Source: "/test/doctor"}); err != nil {
		t.Fatal(err)
	}
	master, err := natskv.LoadMasterKey(filepath.Join(p.dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if p.store, err = natskv.Open(t.Context(), natskv.Config{JS: p.js, MasterKey: master}); err != nil {
		t.Fatal(err)
	}
	return p
}

// doctor returns what the command finds.
func (p *patient) doctor(args ...string) []finding {
	p.t.Helper()
	out, errs, code := piped(p.t, "", append([]string{"doctor", "--json", "--idle", "0s", "--config", p.cfg}, args...)...)
	var found []finding
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		p.t.Fatalf("doctor: exit %d, %v: %s%s", code, err, out, errs)
	}
	left := 0
	for _, f := range found {
		if !f.Fixed {
			left++
		}
	}
	if (left > 0) != (code == 1) || code > 1 {
		p.t.Errorf("doctor: exit %d with %d findings\n%s", code, left, errs)
	}
	return found
}

// healthy waits until nothing is wrong.
func (p *patient) healthy(after string) {
	p.t.Helper()
	waittest.Until(p.t, "nothing is wrong after "+after, func() error {
		if found := p.doctor(); len(found) > 0 {
			return fmt.Errorf("the doctor finds %+v", found)
		}
		return nil
	})
}

// names fails unless the first finding has a code and a subject.
func (p *patient) names(code, subject string) {
	p.t.Helper()
	found := p.doctor()
	if len(found) == 0 || found[0].Code != code || found[0].Subject != subject || found[0].Message == "" || found[0].Remedy == "" {
		p.t.Errorf("the doctor finds %+v, want %s of %s first", found, code, subject)
	}
}

// instance puts an incarnation of a service on record that uses a version.
func (p *patient) instance(service, name string, lease int, u events.Use) events.Presence {
	p.t.Helper()
	now := time.Now()
	pres := events.Presence{Service: service, Instance: name, Incarnation: "inc-" + name, StartedAt: now, At: now, Lease: lease}
	if _, err := p.bus.Join(p.t.Context(), pres); err != nil {
		p.t.Fatal(err)
	}
	u.Service, u.Instance, u.Incarnation, u.Fence, u.Joined, u.Status = service, name, pres.Incarnation, 60, true, events.StatusApplied
	if u.PastFence == "" {
		u.PastFence = events.PastFenceRefuse
	}
	if err := p.bus.WriteUse(p.t.Context(), u); err != nil {
		p.t.Fatal(err)
	}
	return pres
}

// gone ends an incarnation.
func (p *patient) gone(pres events.Presence) {
	p.t.Helper()
	pres.Ended = true
	if _, err := p.bus.Join(p.t.Context(), pres); err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) current(id secret.ID) secret.VersionID {
	p.t.Helper()
	m, err := p.store.Describe(p.t.Context(), string(id))
	if err != nil {
		p.t.Fatal(err)
	}
	return m.Current().ID
}

// TestTheDoctorNamesTheFault: on one node that runs, the doctor finds nothing, and after
// each fault that one first; nothing again when it is mended.
func TestTheDoctorNamesTheFault(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: api/key, store: main, ttl: 30d, create: true, services: [api]}\n")
	before := filepath.Join(t.TempDir(), "before.yaml")
	text, err := os.ReadFile(cfg)
	if err == nil {
		err = os.WriteFile(before, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, _, code := piped(t, "", "doctor", "--json", "--config", cfg); code != 1 || !strings.Contains(out, "bus_unreachable") {
		t.Errorf("before the first start: exit %d, %s", code, out)
	}
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	p := admit(t, cfg)
	waittest.Until(t, "the first version is there", func() error {
		if m, err := p.store.Describe(t.Context(), "api/key"); err != nil || m.Current().ID == "" {
			return fmt.Errorf("%+v, %w", m, err)
		}
		return nil
	})
	use := func() events.Use {
		return events.Use{Running: events.Running{SecretID: "api/key", VersionID: p.current("api/key")}, Accepts: []secret.VersionID{}}
	}
	if found := p.doctor(); len(found) == 0 || found[0].Code != "service_not_running" || found[0].Subject != "api" {
		t.Errorf("without an instance the doctor finds %+v", found)
	}
	one := p.instance("api", "one", 3600, use())
	p.healthy("the start of an instance")

	other := p.instance("reports", "two", 3600, use())
	p.names("instance_unlisted", "reports")
	p.gone(other)
	serve := use()
	serve.PastFence = events.PastFenceServe
	lost := p.instance("api", "three", 1, serve)
	waittest.Until(t, "the lease is over", func() error {
		if found := p.doctor(); len(found) != 1 || found[0].Code != "instance_silent" || found[0].Subject != "api/three" {
			return fmt.Errorf("the doctor finds %+v", found)
		}
		return nil
	})
	p.gone(lost)
	aged := use()
	aged.Accepts = nil
	older := p.instance("api", "four", 3600, aged)
	p.names("client_too_old", "api")
	p.gone(older)
	p.healthy("the end of the instances")

	p.consumer()
	p.timer()
	p.pending()

	appendTo(t, cfg, "  - {id: api/new, store: main, ttl: 30d, create: true, services: [api]}\n")
	if found := p.doctor(); len(found) == 0 || found[0].Code != "config_differs" {
		t.Errorf("with another file the doctor finds %+v", found)
	}
	if err := os.Rename(before, cfg); err != nil {
		t.Fatal(err)
	}
	p.gone(one)
	node.drain(t)
	p.names("bus_unreachable", "bus")
}

// consumer leaves a consumer behind, which --fix deletes, on record.
func (p *patient) consumer() {
	p.t.Helper()
	if _, err := p.js.CreateConsumer(p.t.Context(), "ROTATED", jetstream.ConsumerConfig{Durable: "left-behind", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		p.t.Fatal(err)
	}
	p.names("consumer_orphaned", "consumer left-behind")
	for range 2 { // the second time there is nothing to do
		for _, f := range p.doctor("--fix", "--ticket", "OPS-1") {
			if !f.Fixed {
				p.t.Errorf("not fixed: %+v", f)
			}
		}
	}
	p.healthy("--fix")
	acts, err := p.bus.BusActs(p.t.Context())
	if err != nil || len(acts) != 1 || acts[0].Kind != events.ActFix || acts[0].Subject != "consumer left-behind of stream ROTATED" || acts[0].Ticket != "OPS-1" {
		p.t.Errorf("the acts on record are %+v, %v; want one", acts, err)
	}
}

// timer takes a timer away, which the next sweep sets.
func (p *patient) timer() {
	p.t.Helper()
	if err := p.bus.Disarm(p.t.Context(), events.TypeNearExpiry, "api/key"); err != nil {
		p.t.Fatal(err)
	}
	p.names("no_timer", "api/key")
	p.doctor("--fix")
	p.healthy("a sweep")
	ahead := events.Event{ID: "moved", Type: events.TypeNearExpiry, Source: "/test/doctor", Time: time.Now(), Data: events.Data{SecretID: "api/key", Store: "main", VersionID: p.current("api/key"), Reason: events.ReasonNearExpiry, OccurredAt: time.Now()}}
	if _, err := p.bus.Arm(p.t.Context(), ahead, time.Now().Add(time.Hour)); err != nil {
		p.t.Fatal(err)
	}
	p.names("timer_differs", "api/key")
	p.doctor("--fix")
	p.healthy("another sweep")
}

// pending leaves a pending version of another writer.
func (p *patient) pending() {
	p.t.Helper()
	v, err := p.store.Put(p.t.Context(), "api/key", store.Write{Token: "stranger", From: p.current("api/key"), Value: secret.NewValue([]byte("Value-Of-A-Stranger-1!"))})
	if err != nil {
		p.t.Fatal(err)
	}
	p.names("pending_foreign", "api/key")
	if err := p.store.Retire(p.t.Context(), "api/key", v.ID, secret.RetireDelete); err != nil {
		p.t.Fatal(err)
	}
	p.healthy("the withdrawal")
}
