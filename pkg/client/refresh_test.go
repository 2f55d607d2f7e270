package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestRefreshAsksNow: for a service that was refused before it was notified.
func TestRefreshAsksNow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	before := r.reads.Load()
	v2 := r.write(key, "second-value")
	for range 3 {
		if err := m.Refresh(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.Secret(key).Get(); got.Version.ID != v2 || r.reads.Load() != before+1 {
		t.Errorf("version %s after %d reads, want %s after one", got.Version.ID, r.reads.Load()-before, v2)
	}
	r.fault.Store(new(fmt.Errorf("%w: no permission", store.ErrAccessDenied)))
	if err := m.Refresh(t.Context(), token); err == nil || !strings.Contains(err.Error(), "no permission") {
		t.Errorf("err %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.write(key, "third-value")
	r.eventually("a refresh is not too soon", func() bool { return m.Refresh(ended, key) != nil })
	if got := m.Secret(key).Get(); got.Version.ID != v2 {
		t.Errorf("a refresh whose context had ended took %s into use", got.Version.ID)
	}
	if err := m.Refresh(t.Context(), "NOT_HELD"); !errors.Is(err, client.ErrUnknown) {
		t.Errorf("err %v", err)
	}
}

// TestARefreshEndsWithItsContext: one that waits for a hook does not outlast its
// caller, and the reload goes on.
func TestARefreshEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	called, free := make(chan struct{}, 1), make(chan struct{})
	_, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		if string(c.Value.Reveal()) == "second-value" {
			called <- struct{}{}
			<-free
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.write(key, "second-value")
	ctx, cancel := context.WithCancel(t.Context())
	refreshed := make(chan error)
	go func() { refreshed <- m.Refresh(ctx, key) }()
	<-called
	cancel()
	if err := <-refreshed; !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	close(free)
	r.eventually("the reload goes on", func() bool { return value(m.Secret(key).Get()) == "second-value" })
}
