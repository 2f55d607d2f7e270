package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
)

// TestAUseOfARetiredVersionIsOnRecord, with the client and how often it was: of a token
// by the address of the request, of a key by that of the caller.
func TestAUseOfARetiredVersionIsOnRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	k1, t1 := r.write(key, "first-value"), r.write(token, "first-token")
	m := r.manager(func(c *client.Config) { c.Lease = time.Second })
	a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ring, err := client.NewKeyring(t.Context(), m, key, client.KeysAcceptLive, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	k2, t2 := r.write(key, "second-value"), r.write(token, "second-token")
	r.notify(key, k2)
	r.notify(token, t2)
	r.use("the new key is in use", key, func(u events.User) bool { return u.Use.VersionID == k2 })
	r.use("the new token is in use", token, func(u events.User) bool { return u.Use.VersionID == t2 && len(u.Use.RetiredUses) == 0 })
	r.drain(key, k2, k1)
	r.drain(token, t2, t1)
	r.use("the old key is dropped", key, func(u events.User) bool { return len(u.Use.Accepts) == 0 })
	r.use("the old token is dropped", token, func(u events.User) bool { return len(u.Use.Accepts) == 0 })

	req := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	req.Header.Set("Authorization", "Bearer first-token")
	a.Middleware(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), req)
	r.use("the use of the token is on record", token, func(u events.User) bool {
		return slices.ContainsFunc(u.Use.RetiredUses, func(x events.RetiredUse) bool { return x.VersionID == t1 && x.Client == "192.0.2.1" && x.Uses == 1 })
	})
	if use, err := a.Check(client.WithClient(t.Context(), "192.0.2.9"), "first-token"); use != client.TokenRetired || err != nil {
		t.Errorf("the token is %s, %v", use, err)
	}
	r.use("the check by hand is on record", token, func(u events.User) bool {
		return slices.ContainsFunc(u.Use.RetiredUses, func(x events.RetiredUse) bool { return x.Client == "192.0.2.9" })
	})

	for _, get := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := ring.Key(ctx, k1); return err },
		func(ctx context.Context) error { _, err := ring.Fetch(ctx, k1); return err },
	} {
		if err := get(client.WithClient(t.Context(), "2001:db8::7")); !errors.Is(err, client.ErrNoKey) {
			t.Errorf("the key verifies: %v", err)
		}
	}
	r.use("the use of the key is on record", key, func(u events.User) bool {
		return slices.ContainsFunc(u.Use.RetiredUses, func(x events.RetiredUse) bool { return x.VersionID == k1 && x.Client == "2001:db8::7" })
	})
}
