//go:build !race

package faketime_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

const (
	key   = secret.ID("TRADEPULSE_AUDIT_SECRET_ID")
	token = secret.ID("TRADEPULSE_ADMIN_TOKEN_ID")
)

// rig is a store with two secrets and a bus.
type rig struct {
	t      *testing.T
	server *eventstest.Server
	bus    *events.Bus
	mem    *storetest.Mem
	source client.Source
	down   atomic.Bool
	seq    uint64
}

var quiet = slog.New(slog.DiscardHandler)

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, server: eventstest.NewServer(t), mem: storetest.NewMem(nil)}
	r.bus = r.server.NewBus(events.StreamOptions{})
	r.mem.Fault = func(string, string) error {
		if r.down.Load() {
			return fmt.Errorf("%w: the store is down", store.ErrUnavailable)
		}
		return nil
	}
	st, err := store.New("mem", r.mem, &store.Options{Circuit: store.Circuit{Failures: -1}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r.source, err = client.FromSpecs([]*store.Store{st}, []secret.Spec{{ID: key, Store: "mem"}, {ID: token, Store: "mem"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// write makes a value current and returns its version.
func (r *rig) write(id secret.ID, value string) secret.VersionID {
	r.t.Helper()
	ctx := context.Background()
	var from secret.VersionID
	if m, err := r.mem.Describe(ctx, string(id)); err == nil {
		from = m.Current().ID
	}
	v, err := r.mem.Put(ctx, string(id), store.Write{Token: secret.NewToken(id, from, value, 0), From: from, Value: secret.NewValue([]byte(value)), Create: true})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.mem.Promote(ctx, string(id), from, v.ID); err != nil {
		r.t.Fatal(err)
	}
	return v.ID
}

// notify tells the service of a version.
func (r *rig) notify(id secret.ID, v secret.VersionID) {
	r.t.Helper()
	r.seq++
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: id, Store: "mem", VersionID: v, Reason: events.ReasonManual})
	// JetStream may take a while longer than the connection after a restart.
	r.eventually("the notification is stored", func() bool { return r.bus.Notify(context.Background(), "api", e, r.seq) == nil })
}

func (r *rig) manager(change func(*client.Config)) *client.Manager {
	r.t.Helper()
	cfg := client.Config{
		Service: "api", Instance: "one", Source: r.source, IDs: []secret.ID{key, token}, Bus: r.bus,
		PollInterval: -1, Retry: 50 * time.Millisecond, Logger: quiet,
	}
	if change != nil {
		change(&cfg)
	}
	m, err := client.New(r.t.Context(), cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			r.t.Errorf("close: %v", err)
		}
	})
	return m
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("it never happened that %s", what)
		}
		<-tick.C
	}
}

// users returns the records of a secret.
func (r *rig) users(id secret.ID) []events.User {
	r.t.Helper()
	f, err := r.bus.Fleet(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return f.Users
}

// use waits until the one user of a secret is as ok wants it.
func (r *rig) use(what string, id secret.ID, ok func(events.User) bool) (u events.User) {
	r.t.Helper()
	r.eventually(what, func() bool {
		all := r.users(id)
		if len(all) == 1 {
			u = all[0]
		}
		return len(all) == 1 && ok(u)
	})
	return u
}

// accepted reports whether a token is accepted. A check that fails fails the test.
func accepted(t *testing.T, a *client.TokenAuthenticator, text string) bool {
	t.Helper()
	use, err := a.Check(t.Context(), text)
	if err != nil {
		t.Errorf("check: %v", err)
	}
	return use.Accepted()
}
