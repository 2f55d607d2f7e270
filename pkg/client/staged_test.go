package client_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestStagingIsTriedAgain: a version that could not be loaded for verification
// is offered again, and forgotten when it is given up.
func TestStagingIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	var broken atomic.Bool
	broken.Store(true)
	_, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		if c.Staged && broken.Load() {
			return errors.New("not now")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stage := func(name string) secret.VersionID {
		t.Helper()
		v, err := r.mem.Put(t.Context(), string(key), store.Write{Token: secret.Token(name), From: v1, Value: secret.NewValue([]byte(name))})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		r.seq++
		e := events.Event{ID: name, Type: events.TypeStaged, Source: "/test", Time: now, Data: events.Data{SecretID: key, VersionID: v.ID, OccurredAt: now}}
		if err := r.bus.Notify(t.Context(), "api", e, r.seq); err != nil {
			t.Fatal(err)
		}
		return v.ID
	}
	next := stage("next")
	r.eventually("the failure is reported", func() bool { s := r.running(); return s.Status == events.StatusFailed && s.Wanted == next })
	if err := m.Refresh(t.Context(), key); err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("looking at the current version hides what failed: %v", err)
	}
	broken.Store(false)
	r.eventually("it is staged after all", func() bool { s := r.running(); return s.Status == events.StatusStaged && s.Wanted == next })

	broken.Store(true)
	if err := r.mem.Retire(t.Context(), string(key), next, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	after := stage("after")
	r.eventually("the failure is reported", func() bool { s := r.running(); return s.Status == events.StatusFailed && s.Wanted == after })
	if err := r.mem.Retire(t.Context(), string(key), after, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	r.eventually("what was given up is no failure", func() bool { s := r.running(); return s.Status == events.StatusApplied && s.VersionID == v1 })
}

// looked counts how often the current version is read.
type looked struct {
	client.Source

	n atomic.Int64
}

func (s *looked) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	if sel == (store.Selector{Primary: true}) {
		s.n.Add(1)
	}
	return s.Source.Read(ctx, id, sel)
}

// refusing returns a manager that has refused a staged version, and that version.
func (r *rig) refusing(change func(*client.Config)) (*client.Manager, secret.VersionID) {
	r.t.Helper()
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(change)
	_, err := m.Subscribe(r.t.Context(), key, func(_ context.Context, c client.Change) error {
		if c.Staged {
			return errors.New("not now")
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	next, err := r.mem.Put(r.t.Context(), string(key), store.Write{Token: "next", From: v1, Value: secret.NewValue([]byte("next"))})
	if err != nil {
		r.t.Fatal(err)
	}
	now := time.Now()
	e := events.Event{ID: "next", Type: events.TypeStaged, Source: "/test", Time: now, Data: events.Data{SecretID: key, VersionID: next.ID, OccurredAt: now}}
	if err := r.bus.Notify(r.t.Context(), "api", e, 1); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("the failure is reported", func() bool { s := r.running(); return s.Status == events.StatusFailed && s.Wanted == next.ID })
	return m, next.ID
}

// TestTheCurrentVersionIsLookedAtWhileAStagedOneIsRefused: its cached lifetime
// must not end because of the other.
func TestTheCurrentVersionIsLookedAtWhileAStagedOneIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	src := &looked{Source: r.source}
	r.refusing(func(c *client.Config) {
		c.Source, c.Lookup = src, lookup(map[string]string{string(key) + "_TTL_SECONDS": "1"})
	})
	before := src.n.Load()
	r.eventually("the current version is looked at", func() bool { return src.n.Load() > before })
}

// TestALookThatFailsForgetsNoStagedVersion: what is tried again next is that one.
func TestALookThatFailsForgetsNoStagedVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m, next := r.refusing(func(c *client.Config) { c.Retry = time.Minute })
	r.down.Store(true)
	if err := m.Refresh(t.Context(), key); err == nil || !strings.Contains(err.Error(), "the store is down") {
		t.Errorf("err %v", err)
	}
	if s := m.Report().Secrets[1]; s.SecretID != key || s.Wanted != next {
		t.Errorf("the report says %+v, want that it waits for %s", s, next)
	}
}
