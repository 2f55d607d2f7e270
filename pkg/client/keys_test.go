package client_test

import (
	"bytes"
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

func TestAKeyringVerifiesWithEveryVersionItSaw(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	k, err := client.NewKeyring(t.Context(), m, key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	r.eventually("the ring signs with the second version", func() bool { return k.Current().ID == v2 })
	if old, ok := k.Key(v1); !ok || string(old.Value.Reveal()) != "first-value" {
		t.Error("the first version does not verify any more")
	}
	fresh, err := client.NewKeyring(t.Context(), m, key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if _, ok := fresh.Key(v1); ok {
		t.Error("a new ring knows a version it has not seen")
	}
	if old, err := fresh.Fetch(t.Context(), v1); err != nil || string(old.Value.Reveal()) != "first-value" {
		t.Errorf("it cannot be fetched from the store: %v", err)
	}
}

func TestAStagedVersionVerifiesAndDoesNotSign(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	k, err := client.NewKeyring(t.Context(), m, key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	pending, err := r.mem.Put(t.Context(), string(key), store.Write{Token: "next", From: v1, Value: secret.NewValue([]byte("next-value"))})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	staged := events.Event{ID: "staged", Type: events.TypeStaged, Source: "/test", Time: now, Data: events.Data{SecretID: key, VersionID: pending.ID, OccurredAt: now}}
	if err := r.bus.Notify(t.Context(), "api", staged, 1); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is staged", func() bool { s := r.running(); return s.Status == events.StatusStaged && s.Wanted == pending.ID })
	if _, ok := k.Key(pending.ID); !ok || k.Current().ID != v1 {
		t.Errorf("the ring verifies with it: %t, and signs with %s", ok, k.Current().ID)
	}
}

func TestAuditRecordsShowEveryChange(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	k, err := client.NewKeyring(t.Context(), m, key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var out bytes.Buffer
	log, err := client.NewAuditLogger(t.Context(), m, k, &out)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for i := range 6 {
		if i == 3 {
			v := r.write(key, "second-value")
			r.notify(key, v)
			r.eventually("the ring signs with the second version", func() bool { return k.Current().ID == v })
		}
		if err := log.Log("order.placed", map[string]string{"order": fmt.Sprint(i), "note": "<a & b> \u2028"}); err != nil {
			t.Fatal(err)
		}
	}
	lookup := func(v secret.VersionID) (secret.Value, error) {
		key, ok := k.Key(v)
		if !ok {
			return secret.Value{}, store.ErrNotFound
		}
		return key.Value, nil
	}
	lines := strings.SplitAfter(strings.TrimSpace(out.String())+"\n", "\n")[:6]
	for name, c := range map[string]struct {
		change func([]string) []string
		line   int
	}{
		"nothing":               {func(l []string) []string { return l }, 0},
		"a changed field":       {func(l []string) []string { l[1] = strings.Replace(l[1], "order.placed", "order.dropped", 1); return l }, 2},
		"a removed record":      {func(l []string) []string { return append(l[:2:2], l[3:]...) }, 3},
		"two swapped records":   {func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }, 4},
		"a record of garbage":   {func(l []string) []string { l[5] = "garbage\n"; return l }, 6},
		"a space between":       {func(l []string) []string { l[0] = strings.Replace(l[0], ",", ", ", 1); return l }, 1},
		"a key nobody knows":    {func(l []string) []string { l[2] = strings.Replace(l[2], `"key_id":"`, `"key_id":"x`, 1); return l }, 3},
		"a record put in twice": {func(l []string) []string { return append(l[:2:2], l[1:]...) }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Join(c.change(append([]string(nil), lines...)), "")
			n, _, err := client.VerifyAudit(strings.NewReader(text), lookup)
			bad, is := errors.AsType[*client.AuditError](err)
			if c.line == 0 && (err != nil || n != 6) || c.line != 0 && (!is || bad.Line != c.line) {
				t.Errorf("%d records, err %v; want the first bad line %d", n, err, c.line)
			}
		})
	}
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
		{"Bearer wrong", `Bearer realm="admin", error="invalid_token"`, http.StatusUnauthorized},
		{"Bearer " + strings.Repeat("x", 9<<10), `Bearer realm="admin", error="invalid_token"`, http.StatusUnauthorized},
	} {
		if code, challenge := ask(c.header); code != c.code || challenge != c.challenge {
			t.Errorf("%.20q: %d %q, want %d %q", c.header, code, challenge, c.code, c.challenge)
		}
	}
	if ok, _ := a.Check("first-token", time.Now().Add(2*time.Hour)); ok {
		t.Error("the first token is accepted after the overlap")
	}
}
