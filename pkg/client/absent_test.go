package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// refusals is a Source that fails to read one secret.
type refusals struct {
	client.Source

	id  secret.ID
	err error
}

func (r refusals) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	if id == r.id {
		return secret.Version{}, secret.Value{}, r.err
	}
	return r.Source.Read(ctx, id, sel)
}

func optionalToken(c *client.Config) {
	c.CheckedAtUse, c.Optional = []secret.ID{token}, []secret.ID{token}
}

// TestAnOptionalSecretMayBeAbsent: the service runs, its routes answer 503 and name what
// to set, and the first version is taken into use without a restart.
func TestAnOptionalSecretMayBeAbsent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	m := r.manager(optionalToken)
	a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	h := a.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	ask := func(header string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w
	}
	for _, header := range []string{"", "Bearer ", "Bearer some-token"} {
		if w := ask(header); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "set "+string(token)) {
			t.Errorf("%q: %d %s, want 503 and the name of the variable", header, w.Code, w.Body)
		}
	}
	if use, err := a.Check(t.Context(), "some-token"); use.Accepted() || !errors.Is(err, client.ErrAbsent) {
		t.Errorf("a check is %s, %v", use, err)
	}
	if err := m.Refresh(t.Context(), token); err != nil {
		t.Errorf("refresh: %v", err)
	}
	r.notify(token, r.write(token, "first-token"))
	r.eventually("the first token is accepted", func() bool { return ask("Bearer first-token").Code == http.StatusNoContent })
	if w := ask("Bearer some-token"); w.Code != http.StatusUnauthorized {
		t.Errorf("another token: %d", w.Code)
	}
	r.use("the use is on record", token, func(u events.User) bool { return u.Use.VersionID != "" && u.Use.Status == events.StatusApplied })
}

// TestAnOptionalKeyMayBeAbsent: a key ring signs nothing, and signs once there is a key.
func TestAnOptionalKeyMayBeAbsent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	m := r.manager(optionalToken)
	var rings []*client.Keyring
	for _, kind := range []client.KeyUse{client.KeysVerifyHistory, client.KeysAcceptLive} {
		ring, err := client.NewKeyring(t.Context(), m, token, kind, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(ring.Close)
		if _, err := ring.Current(t.Context()); !errors.Is(err, client.ErrAbsent) {
			t.Errorf("%s: %v", kind, err)
		}
		rings = append(rings, ring)
	}
	r.write(token, "first-key-of-the-ring")
	if err := m.Refresh(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	for _, ring := range rings {
		r.eventually("the first key signs", func() bool { k, err := ring.Current(t.Context()); return err == nil && k.ID != "" })
	}
}

// TestOnlyAPlainAnswerIsAbsence: a secret that is there and cannot be read ends the start.
func TestOnlyAPlainAnswerIsAbsence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	for _, cause := range []error{
		store.ErrAccessDenied, store.ErrUnavailable, store.ErrNoValue, store.ErrDeleted, store.ErrInvalid, store.ErrThrottled, context.DeadlineExceeded,
		errors.New("unknown"),
	} {
		cfg := client.Config{
			Service: "api", IDs: []secret.ID{key, token}, Source: refusals{r.source, token, fmt.Errorf("read: %w", cause)}, PollInterval: -1, Logger: quiet,
		}
		optionalToken(&cfg)
		m, err := client.New(t.Context(), cfg)
		if err == nil {
			_ = m.Close(t.Context())
		}
		if !errors.Is(err, cause) || !strings.Contains(err.Error(), string(token)) {
			t.Errorf("%v: the start is %v", cause, err)
		}
	}
}

// TestWhatIsNotCheckedAtUseIsNotOptional: a copy of a value cannot be absent.
func TestWhatIsNotCheckedAtUseIsNotOptional(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	for _, cfg := range []client.Config{
		{Optional: []secret.ID{token}},
		{Optional: []secret.ID{third}, CheckedAtUse: []secret.ID{token}},
	} {
		cfg.Service, cfg.IDs, cfg.Source, cfg.Logger = "api", []secret.ID{key, token}, r.source, quiet
		if _, err := client.New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "is optional") {
			t.Errorf("%v: %v", cfg.Optional, err)
		}
	}
}

// TestAnAbsentSecretMoves: a reload of the configuration says where the secret is.
func TestAnAbsentSecretMoves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	var set client.Set
	m := r.manager(func(c *client.Config) {
		optionalToken(c)
		c.Reconfigure = func(context.Context) (client.Set, error) { return set, nil }
	})
	a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	set = client.Set{Source: r.at(token, "elsewhere", key, token), IDs: []secret.ID{key, token}}
	if err := m.Reload(t.Context()); err != nil {
		t.Fatalf("it is absent there, too: %v", err)
	}
	if _, err := a.Check(t.Context(), "moved-token"); !errors.Is(err, client.ErrAbsent) {
		t.Errorf("a check is %v", err)
	}
	r.write("there", "moved-token")
	set = client.Set{Source: r.at(token, "there", key, token), IDs: []secret.ID{key, token}}
	if err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !accepted(t, a, "moved-token") {
		t.Error("the token from where it is now is refused")
	}
}
