// Package clienttest lets a service test that it reloads: a store in memory, a
// real bus in the process of the test, and rotations at will. Only tests import
// it.
//
//	kit := clienttest.New(t, map[secret.ID]string{"TRADEPULSE_ADMIN_TOKEN_ID": "first"})
//	svc := newService(kit.Manager())
//	kit.Rotate("TRADEPULSE_ADMIN_TOKEN_ID", "second")
//	kit.WaitApplied("TRADEPULSE_ADMIN_TOKEN_ID")
//	// svc works with "second" now
//
// It generates no values and decides nothing: pkg/rotation and pkg/notify are
// not part of it.
package clienttest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
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

// Service is the name under which services report that are made with
// [Kit.Config].
const Service = "test"

// storeName is what the store is called.
const storeName = "clienttest"

// Kit is a store and a bus with some secrets.
type Kit struct {
	tb      testing.TB
	mem     *storetest.Mem
	source  client.Source
	ids     []secret.ID
	bus     *events.Bus // nil without a bus
	failure atomic.Pointer[error]

	mu       sync.Mutex
	seq      uint64
	current  map[secret.ID]secret.VersionID
	last     map[secret.ID]secret.VersionID // :: what was written last
	managers []*client.Manager
}

// New returns a Kit with a real NATS server, whose secrets have the given values.
// The server is reached without a socket.
func New(tb testing.TB, secrets map[secret.ID]string) *Kit {
	tb.Helper()
	k := NewPolling(tb, secrets)
	k.bus = eventstest.NewServer(tb).NewBus(events.StreamOptions{})
	return k
}

// NewPolling returns a Kit without a bus: Managers find rotations by polling
// every 10 ms. It works in a bubble of testing/synctest.
func NewPolling(tb testing.TB, secrets map[secret.ID]string) *Kit {
	tb.Helper()
	k := &Kit{tb: tb, mem: storetest.NewMem(nil), current: map[secret.ID]secret.VersionID{}, last: map[secret.ID]secret.VersionID{}}
	k.mem.Fault = func(op, _ string) error {
		if err := k.failure.Load(); err != nil && op == "get" {
			return *err
		}
		return nil
	}
	// Without a circuit what Fail has broken works again at once.
	st, err := store.New(storeName, k.mem, &store.Options{Circuit: store.Circuit{Failures: -1}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	var specs []secret.Spec
	for id, value := range secrets {
		specs, k.ids = append(specs, secret.Spec{ID: id, Store: storeName}), append(k.ids, id)
		k.promote(id, k.put(id, value))
	}
	if k.source, err = client.FromSpecs([]*store.Store{st}, specs); err != nil {
		tb.Fatal(err)
	}
	return k
}

// Config returns the configuration of a Manager on the Kit, for a service that
// makes its own. It tries again quickly and logs nothing.
func (k *Kit) Config() client.Config {
	c := client.Config{
		Service: Service, Source: k.source, IDs: k.ids, PollInterval: -1, Retry: 10 * time.Millisecond,
		Lookup: func(string) (string, bool) { return "", false }, Logger: slog.New(slog.DiscardHandler),
	}
	if k.bus == nil {
		c.PollInterval = 10 * time.Millisecond
	} else {
		c.Bus = k.bus
	}
	return c
}

// Manager returns a Manager on the Kit that is closed with the test.
func (k *Kit) Manager() *client.Manager {
	k.tb.Helper()
	m, err := client.New(context.Background(), k.Config())
	if err != nil {
		k.tb.Fatal(err)
	}
	k.mu.Lock()
	k.managers = append(k.managers, m)
	k.mu.Unlock()
	k.tb.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			k.tb.Errorf("close the manager: %v", err)
		}
	})
	return m
}

// Bus returns the bus, nil for a Kit that polls.
func (k *Kit) Bus() *events.Bus { return k.bus }

// Rotate makes a value current and announces it, and returns its version. It
// does not wait.
func (k *Kit) Rotate(id secret.ID, value string) secret.VersionID {
	k.tb.Helper()
	v := k.put(id, value)
	k.promote(id, v)
	k.announce(events.TypeRotated, id, v)
	return v
}

// Stage writes a value as the pending version and announces it for verification,
// as a rotation with prepare-then-activate does. Activate makes it current.
func (k *Kit) Stage(id secret.ID, value string) secret.VersionID {
	k.tb.Helper()
	v := k.put(id, value)
	k.announce(events.TypeStaged, id, v)
	return v
}

// Activate makes the version current that Stage wrote last, and announces it.
func (k *Kit) Activate(id secret.ID) {
	k.tb.Helper()
	v := k.written(id)
	k.promote(id, v)
	k.announce(events.TypeRotated, id, v)
}

// Fail lets reads of the store fail with err from now on, such as one that wraps
// store.ErrUnavailable or store.ErrAccessDenied; nil ends that.
func (k *Kit) Fail(err error) {
	if err == nil {
		k.failure.Store(nil)
		return
	}
	k.failure.Store(&err)
}

// WaitApplied waits until every instance uses the version that was written last.
func (k *Kit) WaitApplied(id secret.ID) {
	k.tb.Helper()
	v := k.written(id)
	k.wait(fmt.Sprintf("%s is in use", id), id, func(s events.Running) bool { return s.Status == events.StatusApplied && s.VersionID == v })
}

// WaitStaged waits until every instance holds the version that was written last
// for verification.
func (k *Kit) WaitStaged(id secret.ID) {
	k.tb.Helper()
	v := k.written(id)
	k.wait(fmt.Sprintf("%s is staged", id), id, func(s events.Running) bool { return s.Status == events.StatusStaged && s.Wanted == v })
}

// WaitFailed waits until every instance reports that it could not take the
// secret into use, and returns the reason that one of them gives.
func (k *Kit) WaitFailed(id secret.ID) (reason string) {
	k.tb.Helper()
	k.wait(fmt.Sprintf("%s fails to reload", id), id, func(s events.Running) bool {
		reason = s.Reason
		return s.Status == events.StatusFailed
	})
	return reason
}

// patience is how long a machine under load may take.
const patience = time.Minute

// wait polls what instances say until ok for each of them.
func (k *Kit) wait(what string, id secret.ID, ok func(events.Running) bool) {
	k.tb.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		all, n := true, 0
		for _, s := range k.running(id) {
			n++
			all = all && ok(s)
		}
		if n > 0 && all {
			return
		}
		if time.Now().After(deadline) {
			k.tb.Fatalf("clienttest: it never happened that %s, by %d instances", what, n)
		}
		<-tick.C
	}
}

// running returns what instances that have not ended say of a secret: on the bus, or
// those that Manager made.
func (k *Kit) running(id secret.ID) (out []events.Running) {
	k.tb.Helper()
	if k.bus != nil {
		f, err := k.bus.Fleet(context.Background(), id)
		if err != nil {
			k.tb.Fatal(err)
		}
		for _, u := range f.Users {
			if !u.Presence.Ended {
				out = append(out, u.Use.Running)
			}
		}
		return out
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.managers {
		for _, s := range m.Report().Secrets {
			if s.SecretID == id {
				out = append(out, s)
			}
		}
	}
	return out
}

func (k *Kit) written(id secret.ID) secret.VersionID {
	k.tb.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.last[id]
	if !ok {
		k.tb.Fatalf("clienttest: %s is not among the secrets of the kit", id)
	}
	return v
}

func (k *Kit) put(id secret.ID, value string) secret.VersionID {
	k.tb.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seq++
	token := secret.Token(fmt.Sprintf("version-%d", k.seq))
	v, err := k.mem.Put(context.Background(), string(id), store.Write{Token: token, From: k.current[id], Value: secret.NewValue([]byte(value)), Create: true})
	if err != nil {
		k.tb.Fatalf("clienttest: write %s: %v", id, err)
	}
	k.last[id] = v.ID
	return v.ID
}

func (k *Kit) promote(id secret.ID, v secret.VersionID) {
	k.tb.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.mem.Promote(context.Background(), string(id), k.current[id], v); err != nil {
		k.tb.Fatalf("clienttest: promote %s: %v", id, err)
	}
	k.current[id] = v
}

func (k *Kit) announce(kind events.Type, id secret.ID, v secret.VersionID) {
	k.tb.Helper()
	if k.bus == nil {
		return
	}
	k.mu.Lock()
	k.seq++
	seq := k.seq
	k.mu.Unlock()
	e := events.Rotated("/clienttest", time.Now(), events.Data{SecretID: id, Store: storeName, VersionID: v, Reason: events.ReasonManual})
	e.Type = kind
	if err := k.bus.Notify(context.Background(), Service, e, seq); err != nil {
		k.tb.Fatalf("clienttest: announce %s: %v", id, err)
	}
}
