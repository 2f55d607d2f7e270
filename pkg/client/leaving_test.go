package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
)

// dropping returns a Manager of key and token whose next reload has what to returns.
func dropping(t *testing.T, to func() client.Set) (*client.Manager, chan error) {
	t.Helper()
	m, err := client.New(t.Context(), client.Config{
		Service: "api", Source: newPlace("first", "1", "old-place"), IDs: []secret.ID{key, token}, PollInterval: -1, Logger: quiet,
		Reconfigure: func(context.Context) (client.Set, error) { return to(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.WithoutCancel(t.Context())) })
	return m, make(chan error, 1)
}

// TestAUserThatComesWhileItsSecretIsDroppedKeepsIt: it came before the reload was
// decided, so the reload fails.
func TestAUserThatComesWhileItsSecretIsDroppedKeepsIt(t *testing.T) {
	t.Parallel()
	next := newPlace("second", "1", "new-place")
	next.entered, next.goOn = make(chan struct{}), make(chan struct{})
	m, done := dropping(t, func() client.Set { return client.Set{Source: next, IDs: []secret.ID{key}} })
	go func() { done <- m.Reload(t.Context()) }()
	<-next.entered
	a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	close(next.goOn)
	if err := <-done; err == nil || !strings.Contains(err.Error(), string(token)) {
		t.Fatalf("the reload dropped a secret that is used: %v", err)
	}
	if use, err := a.Check(t.Context(), "old-place"); err != nil || use != client.TokenCurrent {
		t.Errorf("the token is %s: %v", use, err)
	}
	if _, err := m.Get(t.Context(), token); err != nil {
		t.Errorf("the secret is gone: %v", err)
	}
}

// TestAUserIsRefusedOnceItsSecretIsLeaving: a hook of a secret that moves holds the
// reload up after the last look at the users of what is dropped.
func TestAUserIsRefusedOnceItsSecretIsLeaving(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{"dropped": nil, "kept after all": errors.New("not this one")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, done := dropping(t, func() client.Set {
				return client.Set{Source: newPlace("second", "1", "new-place"), IDs: []secret.ID{key}}
			})
			moving, goOn := make(chan struct{}), make(chan struct{})
			if _, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
				if string(c.Value.Reveal()) != "new-place" {
					return nil
				}
				close(moving)
				<-goOn
				return refusal
			}); err != nil {
				t.Fatal(err)
			}
			go func() { done <- m.Reload(t.Context()) }()
			<-moving
			subscribe := func() error {
				_, err := m.Subscribe(t.Context(), token, func(context.Context, client.Change) error { return nil })
				return err
			}
			if err := subscribe(); !errors.Is(err, client.ErrUnknown) {
				t.Errorf("a user came to a secret that is leaving: %v", err)
			}
			close(goOn)
			if err := <-done; (err == nil) != (refusal == nil) {
				t.Fatal(err)
			}
			if err := subscribe(); (err == nil) != (refusal != nil) {
				t.Errorf("after the reload a user is answered %v", err)
			}
		})
	}
}
