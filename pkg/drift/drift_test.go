package drift_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/drift"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/postgres"
)

const password = "Orders.current.0123456789"

var spec = secret.Spec{ID: "ORDERS_DB", Store: "main", Path: "orders/db"}

// site is a secret whose value is the password of a role, and a watcher.
type site struct {
	server  *serverstest.Postgres
	mem     *storetest.Mem
	bus     *events.Bus
	targets postgres.Config
	log     bytes.Buffer
	w       *drift.Watcher
	v1      secret.VersionID
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{server: serverstest.StartPostgres(t), mem: storetest.NewMem(nil), bus: eventstest.NewServer(t).NewBus(events.StreamOptions{Memory: true})}
	st, err := store.New("main", s.mem, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	known, err := catalog.New(catalog.Config{Stores: stores, Specs: []secret.Spec{spec}})
	if err != nil {
		t.Fatal(err)
	}
	s.targets = postgres.Config{
		Endpoints: []string{net.JoinHostPort(s.server.Host, fmt.Sprint(s.server.Port))}, User: "orders", Strategy: postgres.Single,
		Admin: s.nothing, Read: func(ctx context.Context, _ secret.VersionID) (secret.Value, error) { return s.nothing(ctx) },
	}
	s.w, err = drift.New(drift.Config{
		Catalog: known, Stores: stores, Bus: s.bus, Source: "/test", Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
		TargetFor: func(context.Context, secret.Spec) (target.Target, error) { return postgres.New(s.targets) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.v1 = s.put(t, "", password)
	if err := s.mem.Promote(t.Context(), spec.Path, "", s.v1); err != nil {
		t.Fatal(err)
	}
	return s
}

// nothing is what a look at the current version has no need of.
func (*site) nothing(context.Context) (secret.Value, error) {
	return secret.Value{}, fmt.Errorf("a login does not need it")
}

func (s *site) put(t *testing.T, from secret.VersionID, password string) secret.VersionID {
	t.Helper()
	v, err := s.mem.Put(t.Context(), spec.Path, store.Write{Token: secret.NewToken(spec.ID, from, "test", 0), From: from, Create: true,
		Value: secret.NewValue(fmt.Appendf(nil, `{"username":"orders","password":%q,"dbname":"postgres"}`, password))})
	if err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// last returns what the log says, and how often something was said.
func (s *site) last(t *testing.T) events.Announcement {
	t.Helper()
	a, err := s.bus.Last(t.Context(), events.TypeVerified, spec.ID)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// look fails the test unless a look at the secret shows a state, in the log as well.
func (s *site) look(t *testing.T, want events.VerifiedState) events.Announcement {
	t.Helper()
	got, a := s.w.Look(t.Context(), spec), s.last(t)
	if got != want || a.Event.Data.Verification == nil || a.Event.Data.Verification.State != want || a.Event.Data.VersionID != s.v1 {
		t.Fatalf("Look() = %q, want %q; the log has %+v", got, want, a.Event.Data)
	}
	return a
}

// TestDrift: only a refusal is one, whatever else goes wrong.
func TestDrift(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.server.Exec(t, "postgres", "CREATE ROLE orders LOGIN PASSWORD '"+password+"'")
	first := s.look(t, events.VerifiedWorks)
	if again := s.look(t, events.VerifiedWorks); again.Seq != first.Seq {
		t.Error("what has not changed is said again")
	}
	s.unreachable(t)
	s.drifted(t)
	s.rotating(t)
	if text := s.log.String(); strings.Contains(text, password) || !strings.Contains(text, "ORDERS_DB") {
		t.Errorf("the log holds the value, or does not name the secret:\n%s", text)
	}
}

// unreachable: that is neither a refusal nor a success.
func (s *site) unreachable(t *testing.T) {
	before := s.targets.Endpoints
	s.targets.Endpoints = []string{net.JoinHostPort("127.0.0.1", fmt.Sprint(serverstest.FreePort(t)))}
	s.look(t, events.VerifiedUnknown)
	s.targets.Endpoints = before
	s.look(t, events.VerifiedWorks)
}

// drifted: another owner of the password sets its own. Nothing is rotated because of it.
func (s *site) drifted(t *testing.T) {
	s.server.Exec(t, "postgres", "ALTER ROLE orders PASSWORD 'Of.another.owner.0123'")
	a := s.look(t, events.VerifiedRefused)
	if text := a.Event.Data.Verification.Message; strings.Contains(text, password) || !strings.Contains(text, s.targets.Endpoints[0]) {
		t.Errorf("message %q, want one with the endpoint and without the value", text)
	}
	m, err := s.mem.Describe(t.Context(), spec.Path)
	if err != nil || m.Current().ID != s.v1 || len(m.Versions) != 1 {
		t.Errorf("versions %+v, %v; want those of before", m.Versions, err)
	}
	s.server.Exec(t, "postgres", "ALTER ROLE orders PASSWORD '"+password+"'")
	s.look(t, events.VerifiedWorks)
}

// rotating: without overlap the current value stops working while the next one is
// pending, which is no drift.
func (s *site) rotating(t *testing.T) {
	v2 := s.put(t, s.v1, "Orders.next.0123456789")
	s.server.Exec(t, "postgres", "ALTER ROLE orders PASSWORD 'Orders.next.0123456789'")
	s.look(t, events.VerifiedUnknown)
	if err := s.mem.Promote(t.Context(), spec.Path, s.v1, v2); err != nil {
		t.Fatal(err)
	}
	s.v1 = v2
	s.look(t, events.VerifiedWorks)
}
