package scheduler_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// site is a scheduler over one secret in memory.
type site struct {
	t   *testing.T
	bus *events.Bus
	mem *storetest.Mem
	s   *scheduler.Scheduler
	n   int
}

const id = secret.ID("ORDERS_DB")

// externalRotator is a store that rotates its secrets itself.
type externalRotator struct{ *storetest.Mem }

func (r externalRotator) Features() store.Features {
	f := r.Mem.Features()
	f.External = true
	return f
}

func (externalRotator) Trigger(context.Context, string, secret.Token) error {
	return errors.New("a scheduler triggers nothing")
}

func newSite(t *testing.T) *site {
	return newSiteOf(t, secret.Spec{ID: id, Store: "mem", TTL: 24 * time.Hour})
}

func newSiteOf(t *testing.T, spec secret.Spec) *site {
	t.Helper()
	mem := storetest.NewMem(nil)
	st, err := store.New("mem", externalRotator{mem}, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.New(catalog.Config{Stores: stores, Specs: []secret.Spec{spec}})
	if err != nil {
		t.Fatal(err)
	}
	x := &site{t: t, bus: eventstest.NewServer(t).NewBus(events.StreamOptions{}), mem: mem}
	if x.s, err = scheduler.New(scheduler.Config{Catalog: c, Stores: stores, Bus: x.bus, Source: "/test", Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	return x
}

// write makes a new current version as another program would.
func (x *site) write() secret.VersionID {
	x.t.Helper()
	return x.writeValue("Value-1")
}

func (x *site) writeValue(value string) secret.VersionID {
	x.t.Helper()
	x.n++
	m, err := x.mem.Describe(x.t.Context(), string(id))
	if err != nil {
		m = secret.Metadata{}
	}
	from := m.Current().ID
	v, err := x.mem.Put(x.t.Context(), string(id), store.Write{
		Token: secret.NewToken(id, from, "another program", x.n), From: from, Value: secret.NewValue([]byte(value)), Create: true,
	})
	if err != nil {
		x.t.Fatal(err)
	}
	if err := x.mem.Promote(x.t.Context(), string(id), from, v.ID); err != nil {
		x.t.Fatal(err)
	}
	return v.ID
}

func (x *site) reconcile() {
	x.t.Helper()
	if err := x.s.Reconcile(x.t.Context(), id); err != nil {
		x.t.Fatal(err)
	}
}

// wants fails the test unless a version was announced last, by the seq-th
// message of its stream, and its rotation is armed.
func (x *site) wants(v secret.VersionID, seq uint64) {
	x.t.Helper()
	last, err := x.bus.Last(x.t.Context(), events.TypeRotated, id)
	if err != nil || last.Event.Data.VersionID != v || last.Seq != seq || last.Event.Data.Reason != events.ReasonExternal {
		x.t.Errorf("announced %s (%s) as message %d, err %v; want %s as %d", last.Event.Data.VersionID, last.Event.Data.Reason, last.Seq, err, v, seq)
	}
	timer, err := x.bus.Timer(x.t.Context(), events.TypeNearExpiry, id)
	if err != nil || timer.Event.Data.VersionID != v || timer.Event.Data.Attempt != 0 || !timer.At.After(time.Now().Add(12*time.Hour)) {
		x.t.Errorf("armed for %s at %s, err %v; want %s, and not yet", timer.Event.Data.VersionID, timer.At, err, v)
	}
}

func TestReconcileDoesWhatASweepDoes(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	x.reconcile() // it is not there: said, and no error
	v1 := x.write()
	x.reconcile()
	x.wants(v1, 1)
	for range 5 { // asked again, nothing has happened
		x.reconcile()
	}
	x.wants(v1, 1)
	v2 := x.write()
	x.reconcile()
	x.wants(v2, 2)
	if r, err := x.s.Sweep(t.Context()); err != nil || r.Armed != 0 || r.Announced != 0 {
		t.Errorf("a sweep afterwards armed %d and announced %d, err %v; want neither", r.Armed, r.Announced, err)
	}
}

// TestReconcileNeedsNoSweep: a program that never sweeps has no results of earlier
// sweeps, whatever is decided for a secret.
func TestReconcileNeedsNoSweep(t *testing.T) {
	t.Parallel()
	day, none := 24*time.Hour, time.Duration(0)
	for name, c := range map[string]struct {
		spec           secret.Spec
		writes         bool
		announced, arm bool
	}{
		"not found":    {secret.Spec{TTL: day}, false, false, false},
		"missing":      {secret.Spec{TTL: day, Create: true}, false, false, true},
		"scheduled":    {secret.Spec{TTL: day}, true, true, true},
		"no lifetime":  {secret.Spec{TTL: none}, true, true, false},
		"disabled":     {secret.Spec{TTL: day, Disabled: true}, true, true, false},
		"not rotating": {secret.Spec{TTL: day, Strategy: secret.StrategyExternal}, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.spec.ID, c.spec.Store = id, "mem"
			x := newSiteOf(t, c.spec)
			if c.writes {
				x.write()
			}
			x.reconcile()
			x.reconcile()
			last, err := x.bus.Last(t.Context(), events.TypeRotated, id)
			if err != nil || (last.Seq != 0) != c.announced {
				t.Errorf("announced as message %d, err %v; want an announcement: %t", last.Seq, err, c.announced)
			}
			timer, err := x.bus.Timer(t.Context(), events.TypeNearExpiry, id)
			if err != nil || (timer.Seq != 0) != c.arm {
				t.Errorf("armed as message %d, err %v; want a timer: %t", timer.Seq, err, c.arm)
			}
		})
	}
}

func TestReconcileFollowsARotationThatTheStoreBegan(t *testing.T) {
	t.Parallel()
	x := newSiteOf(t, secret.Spec{ID: id, Store: "mem", TTL: 24 * time.Hour, Strategy: secret.StrategyExternal})
	v := x.write()
	x.reconcile() // whatever the event said, nothing runs
	x.wants(v, 1)
	if _, err := x.mem.Put(t.Context(), string(id), store.Write{Token: secret.NewToken(id, v, "the store", 0), From: v, Value: secret.NewValue([]byte("Value-2"))}); err != nil {
		t.Fatal(err)
	}
	x.reconcile()
	got := make(chan events.Event, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- x.bus.Consume(ctx, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(_ context.Context, d events.Delivery) error {
			got <- d.Event
			return nil
		})
	}()
	if e := <-got; e.Type != events.TypeNearExpiry || e.Data.VersionID != v {
		t.Errorf("a worker gets %s of %s, want that %s is followed", e.Type, e.Data.VersionID, v)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if last, err := x.bus.Last(t.Context(), events.TypeRotated, id); err != nil || last.Seq != 1 {
		t.Errorf("announcement %d, err %v; want no other than the first", last.Seq, err)
	}
}

func TestReconcileIgnoresUnknownSecrets(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	x.write()
	if err := x.s.Reconcile(t.Context(), "THEIRS"); err != nil {
		t.Error(err)
	}
	if last, err := x.bus.Last(t.Context(), events.TypeRotated, "THEIRS"); err != nil || last.Seq != 0 {
		t.Errorf("announced %+v, err %v", last, err)
	}
}

func TestReconcilersAndSweepsTogetherAnnounceOnce(t *testing.T) {
	t.Parallel()
	x := newSite(t)
	v := x.write()
	done := make(chan error)
	for i := range 8 {
		go func() {
			if i == 0 {
				_, err := x.s.Sweep(t.Context())
				done <- err
				return
			}
			done <- x.s.Reconcile(t.Context(), id)
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	x.wants(v, 1)
}

func TestReconcilePathDiscovers(t *testing.T) {
	t.Parallel()
	s := newShop()
	m := newMall(t, []secret.Spec{{ID: "LISTED", Store: "main", Path: "listed", TTL: time.Hour}}, map[string]*shop{"main": s})
	at := func(path string, reads int) {
		t.Helper()
		s.take()
		if err := m.s.ReconcilePath(t.Context(), "main", path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if calls := s.take(); calls["describe"] > reads || len(calls) > reads {
			t.Errorf("%s: it costs %v, want %d reads", path, calls, reads)
		}
	}
	s.put(t, "foreign")
	s.put(t, "listed", "managed=true")
	at("foreign", 1)
	at("not/there", 1)
	at("listed", 0)
	if err := m.s.ReconcilePath(t.Context(), "no such store", "foreign"); err != nil {
		t.Error(err)
	}
	m.wantArmed()

	s.put(t, "a", "managed=true", "ttl=1h")
	at("a", 2) // reads again before it announces
	m.wantArmed("a")
	first, err := m.bus.Last(t.Context(), events.TypeRotated, "a")
	if got := m.where("a"); err != nil || got != "main:a" || first.Event.Data.Reason != events.ReasonExternal {
		t.Errorf("discovered at %q, announced as %+v, err %v", got, first.Event.Data, err)
	}
	at("a", 1)
	if again, err := m.bus.Last(t.Context(), events.TypeRotated, "a"); err != nil || again.Seq != first.Seq {
		t.Errorf("announced again as %d, err %v", again.Seq, err)
	}
	if r := m.sweep(); r.Discovered+r.Gone != 0 || r.Announced != 1 || r.Armed != 1 { // LISTED
		t.Errorf("a sweep afterwards: %+v", r)
	}

	s.tag("a", "managed=true", "ttl=soon")
	at("a", 1)
	m.wantArmed("LISTED")
	s.tag("a", "managed=true", "ttl=2h")
	at("a", 1)
	m.wantArmed("LISTED", "a")
	s.tag("a")
	at("a", 1)
	m.wantArmed("LISTED", "a")
	if r := m.sweep(); r.Gone != 1 {
		t.Errorf("the sweep does not let go what is not managed any more: %+v", r)
	}
	m.wantArmed("LISTED")
}

func TestReconcilePathFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault error
		fails bool
	}{
		"the store is down":         {store.ErrUnavailable, true},
		"it is not ours to be read": {store.ErrAccessDenied, false},
	} {
		s := newShop()
		m := newMall(t, nil, map[string]*shop{"main": s})
		s.put(t, "a", "managed=true")
		s.Fault = func(string, string) error { return c.fault }
		if err := m.s.ReconcilePath(t.Context(), "main", "a"); errors.Is(err, c.fault) != c.fails || !c.fails && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReconcileLeavesTimers: a program that is no scheduler announces, and neither
// sets a timer nor takes one away.
func TestReconcileLeavesTimers(t *testing.T) {
	t.Parallel()
	s := newShop()
	m := newMall(t, []secret.Spec{{ID: "LISTED", Store: "main", Path: "listed", TTL: time.Hour}}, map[string]*shop{"main": s})
	bystander, err := scheduler.New(scheduler.Config{Catalog: m.catalog, Stores: m.stores, Bus: m.bus, Source: "/test", LeaveTimers: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	reconcile := func() {
		t.Helper()
		if err := errors.Join(bystander.Reconcile(t.Context(), "LISTED"), bystander.ReconcilePath(t.Context(), "main", "a")); err != nil {
			t.Error(err)
		}
	}
	s.put(t, "listed")
	s.put(t, "a", "managed=true")
	reconcile()
	m.wantArmed()
	for _, id := range []secret.ID{"LISTED", "a"} {
		if last, err := m.bus.Last(t.Context(), events.TypeRotated, id); err != nil || last.Seq == 0 {
			t.Errorf("%s is not announced, err %v", id, err)
		}
	}
	m.sweep()
	m.wantArmed("LISTED", "a")
	for _, ttl := range []string{"none", "soon"} { // is never due; cannot be carried out
		s.tag("a", "managed=true", "ttl="+ttl)
		reconcile()
		m.wantArmed("LISTED", "a")
	}
	m.sweep()
	m.wantArmed("LISTED")
}
