package client_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// accepted reports whether a token is accepted. A check that fails fails the test.
func accepted(t *testing.T, a *client.TokenAuthenticator, text string) bool {
	t.Helper()
	use, err := a.Check(t.Context(), text)
	if err != nil {
		t.Errorf("check: %v", err)
	}
	return use.Accepted()
}

func TestTheAuthenticatorAcceptsThePreviousTokenForAWhile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	srv := httptest.NewServer(a.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })))
	defer srv.Close()
	ask := func(header string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("WWW-Authenticate")
	}
	v2 := r.write(token, "second-token")
	r.notify(token, v2)
	r.eventually("the second token is accepted", func() bool { code, _ := ask("Bearer second-token"); return code == http.StatusNoContent })
	for _, c := range []struct {
		header, challenge string
		code              int
	}{
		{"Bearer second-token", "", http.StatusNoContent},
		{"bearer first-token", "", http.StatusNoContent},
		{"", `Bearer realm="admin"`, http.StatusUnauthorized},
		{"Basic Zm9vOmJhcg==", `Bearer realm="admin"`, http.StatusUnauthorized},
		{"Bearer   second-token ", "", http.StatusNoContent},
		{"Bearer", `Bearer realm="admin", error="invalid_request"`, http.StatusBadRequest},
		{"Bearer ", `Bearer realm="admin", error="invalid_request"`, http.StatusBadRequest},
		{"Bearer second-token second-token", `Bearer realm="admin", error="invalid_request"`, http.StatusBadRequest},
		{"Bearer secönd-token", `Bearer realm="admin", error="invalid_request"`, http.StatusBadRequest},
		{"Bearer wrong", `Bearer realm="admin", error="invalid_token"`, http.StatusUnauthorized},
		{"Bearer " + strings.Repeat("x", 9<<10), `Bearer realm="admin", error="invalid_token"`, http.StatusUnauthorized},
	} {
		if code, challenge := ask(c.header); code != c.code || challenge != c.challenge {
			t.Errorf("%.20q: %d %q, want %d %q", c.header, code, challenge, c.code, c.challenge)
		}
	}
}

// TestAStagedTokenPassesBeforeItIsCurrent: no client is refused for being faster
// than this process.
func TestAStagedTokenPassesBeforeItIsCurrent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	v1 := r.write(token, "first-token")
	a, err := client.NewTokenAuthenticator(t.Context(), r.manager(nil), token, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	accepts := func(value string) bool { return accepted(t, a, value) }
	if accepts("next-token") {
		t.Fatal("it passes before it is staged")
	}
	pending, err := r.mem.Put(t.Context(), string(token), store.Write{Token: "next", From: v1, Value: secret.NewValue([]byte("next-token"))})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	staged := events.Event{ID: "staged", Type: events.TypeStaged, Source: "/test", Time: now, Data: events.Data{SecretID: token, VersionID: pending.ID, OccurredAt: now}}
	r.seq++
	if err := r.bus.Notify(t.Context(), "api", staged, r.seq); err != nil {
		t.Fatal(err)
	}
	r.eventually("the staged token passes", func() bool { return accepts("next-token") })
	if !accepts("first-token") {
		t.Error("the current token does not pass any more")
	}
	if err := r.mem.Retire(t.Context(), string(token), pending.ID, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	r.notify(token, r.write(token, "another-token"))
	r.eventually("another token is current", func() bool { return accepts("another-token") })
	if accepts("next-token") || !accepts("first-token") {
		t.Error("what was staged and given up passes, or the previous token does not")
	}
}

// TestWhoStillSendsThePreviousToken: the log and the list name clients, and never
// a token.
func TestWhoStillSendsThePreviousToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	var log waittest.Buffer
	m := r.manager(func(c *client.Config) { c.Bus, c.Logger = nil, slog.New(slog.NewTextHandler(&log, nil)) })
	a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Real-Ip") }
	h := a.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	send := func(client, token string) {
		t.Helper()
		req := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("X-Real-Ip", client)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, req); w.Code != http.StatusNoContent {
			t.Errorf("%s was answered %d", client, w.Code)
		}
	}
	send("192.0.2.1", "first-token")
	r.write(token, "second-token")
	if err := m.Refresh(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		send("192.0.2.1", "first-token")
		send("192.0.2.2", "second-token")
	}
	send("192.0.2.3", "first-token")
	got := a.PreviousUses()
	if len(got) != 2 || got[0].Client != "192.0.2.3" || got[0].Uses != 1 || got[1].Client != "192.0.2.1" || got[1].Uses != 5 {
		t.Errorf("previous uses: %+v", got)
	}
	if n := strings.Count(log.String(), "admin.token.previous_used"); n != 2 {
		t.Errorf("two clients are in the log %d times", n)
	}
	for _, no := range []string{"first-token", "second-token"} {
		if strings.Contains(log.String(), no) {
			t.Error("the log has a token")
		}
	}
	for i := range 2000 {
		send(fmt.Sprintf("198.51.100.%d", i), "first-token")
	}
	if n := len(a.PreviousUses()); n > 1001 {
		t.Errorf("%d clients are remembered", n)
	}
	r.write(token, "third-token")
	r.eventually("the third token is there", func() bool {
		return m.Refresh(t.Context(), token) == nil && value(m.Secret(token).Get()) == "third-token"
	})
	if n := len(a.PreviousUses()); n != 0 {
		t.Errorf("%d clients of the token before are remembered", n)
	}
}

// TestTheOverlapOutlivesTheProcess: a process that starts within the overlap
// takes the previous token from the store, counted from the current one's start.
func TestTheOverlapOutlivesTheProcess(t *testing.T) {
	inFakeTime(t, 0, nil, func(c *clock) {
		c.pass(time.Hour)
		c.write()
		if err := c.m.Refresh(c.t.Context(), key); err != nil {
			t.Fatal(err)
		}
		start := func() *client.TokenAuthenticator {
			t.Helper()
			a, err := client.NewTokenAuthenticator(c.t.Context(), c.m, key, "admin", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		c.pass(30 * time.Minute)
		a := start()
		defer a.Close()
		if use, err := a.Check(c.t.Context(), "value-1"); use != client.TokenPrevious || err != nil {
			t.Error("within the overlap the previous token is refused")
		}
		c.pass(29 * time.Minute)
		if !accepted(c.t, a, "value-1") {
			t.Error("it is refused before the overlap is over")
		}
		c.pass(2 * time.Minute)
		if accepted(c.t, a, "value-1") {
			t.Error("it is accepted after the overlap")
		}
		reads := c.reads.Load()
		late := start()
		defer late.Close()
		if accepted(c.t, late, "value-1") || c.reads.Load() != reads {
			t.Error("a process that starts after the overlap accepts the previous token, or looks for it")
		}
	})
	inFakeTime(t, 0, nil, func(c *clock) { // a service that may not read it goes on without
		c.write()
		if err := c.m.Refresh(c.t.Context(), key); err != nil {
			t.Fatal(err)
		}
		c.down.Store(true)
		a, err := client.NewTokenAuthenticator(c.t.Context(), c.m, key, "admin", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if accepted(c.t, a, "value-1") || !strings.Contains(c.log.String(), "admin.token.no_previous") {
			t.Error("it does not say that it could not read the previous token")
		}
	})
}

func TestATokenThatCannotBeSentIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"a line feed at its end": "a-token\n", "a space": "a token", "beyond ASCII": "tökèn", "too long": strings.Repeat("x", 9<<10)} {
		r := newRig(t)
		r.write(key, "first-value")
		r.write(token, text)
		m := r.manager(func(c *client.Config) { c.Bus = nil })
		_, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", 0)
		if err == nil || !strings.Contains(err.Error(), client.ErrUnsendable.Error()) || strings.Contains(err.Error(), text) {
			t.Errorf("%s: err %v", name, err)
		}
		if name == "a space" {
			if _, err := client.NewTokenAuthenticator(t.Context(), m, key, `ad"min`, 0); err == nil {
				t.Error("a realm that ends its own quotes is accepted")
			}
		}
	}
}
