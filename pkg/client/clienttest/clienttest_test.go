package clienttest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/clienttest"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

const key = secret.ID("TRADEPULSE_AUDIT_SECRET_ID")

func value(m *client.Manager) string { return string(m.Secret(key).Get().Value.Reveal()) }

// TestAServiceTestsItsReload is the whole of what a service would write.
func TestAServiceTestsItsReload(t *testing.T) {
	t.Parallel()
	for name, kit := range map[string]func(testing.TB, map[secret.ID]string) *clienttest.Kit{"bus": clienttest.New, "polling": clienttest.NewPolling} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := kit(t, map[secret.ID]string{key: "first"})
			m, other := k.Manager(), k.Manager()
			v := k.Rotate(key, "second")
			k.WaitApplied(key)
			if value(m) != "second" || value(other) != "second" || m.Secret(key).Get().Version.ID != v {
				t.Error("an instance does not use what was written last")
			}
			k.Fail(fmt.Errorf("%w: the store is down", store.ErrUnavailable))
			k.Rotate(key, "third")
			if reason := k.WaitFailed(key); !strings.Contains(reason, "the store is down") || value(m) != "second" {
				t.Errorf("it fails because of %q", reason)
			}
			k.Fail(nil)
			k.WaitApplied(key)
			if value(m) != "third" {
				t.Error("it does not recover")
			}
		})
	}
}

func TestStaging(t *testing.T) {
	t.Parallel()
	k := clienttest.New(t, map[secret.ID]string{key: "first"})
	m := k.Manager()
	ring, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	next := k.Stage(key, "second")
	k.WaitStaged(key)
	signs := func() secret.VersionID {
		t.Helper()
		k, err := ring.Current(t.Context())
		if err != nil {
			t.Error(err)
		}
		return k.ID
	}
	if _, err := ring.Key(t.Context(), next); err != nil || signs() == next {
		t.Error("the staged key does not verify, or signs already")
	}
	k.Activate(key)
	k.WaitApplied(key)
	if signs() != next {
		t.Error("the key that was activated does not sign")
	}
}

// TestOwnManager: a service makes its Manager itself, from the configuration.
func TestOwnManager(t *testing.T) {
	t.Parallel()
	k := clienttest.New(t, map[secret.ID]string{key: "first"})
	m, err := client.New(t.Context(), k.Config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		if string(c.Value.Reveal()) == "bad" {
			return errors.New("this service cannot use it")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	k.Rotate(key, "bad")
	if reason := k.WaitFailed(key); reason != "this service cannot use it" {
		t.Errorf("it fails because of %q", reason)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// In a test, t is the *testing.T; an example has none.
func Example() {
	eventstest.Example(func(t testing.TB) {
		kit := clienttest.New(t, map[secret.ID]string{"token": "first"})
		m := kit.Manager() // what the service under test is made with

		kit.Rotate("token", "second")
		kit.WaitApplied("token")
		fmt.Println(string(m.Secret("token").Get().Value.Reveal()))

		kit.Fail(fmt.Errorf("%w: no answer", store.ErrUnavailable))
		kit.Rotate("token", "third")
		fmt.Println(kit.WaitFailed("token"))
	})
	// Output:
	// second
	// store clienttest: get token: store unavailable: no answer
}

func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := clienttest.NewPolling(t, map[secret.ID]string{key: "first"})
		m := k.Manager()
		k.Rotate(key, "second")
		time.Sleep(time.Second)
		if value(m) != "second" {
			t.Error("a second of fake time was not enough")
		}
	})
}
