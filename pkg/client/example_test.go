package client_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/clienttest"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/env"
)

// A service reads the variables of a developer's machine. Others open their
// stores by configuration, see package setup.
func ExampleNew() {
	vars := map[string]string{"TRADEPULSE_AUDIT_SECRET": "a signing key"}
	st, err := store.New("env", env.Open(env.Config{Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok }}), &store.Options{Logger: quiet})
	if err != nil {
		panic(err)
	}
	source, err := client.FromSpecs([]*store.Store{st}, []secret.Spec{
		{ID: "TRADEPULSE_AUDIT_SECRET_ID", Store: "env"},
		{ID: "TRADEPULSE_ADMIN_TOKEN_ID", Store: "env"},
	})
	if err != nil {
		panic(err)
	}
	config := client.Config{
		Service: "tradepulse-api", Source: source, IDs: []secret.ID{"TRADEPULSE_AUDIT_SECRET_ID", "TRADEPULSE_ADMIN_TOKEN_ID"}, Logger: quiet,
	}
	_, err = client.New(context.Background(), config)
	fmt.Println(err)

	vars["TRADEPULSE_ADMIN_TOKEN"] = "a token"
	m, err := client.New(context.Background(), config)
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Secret("TRADEPULSE_ADMIN_TOKEN_ID").Get().Value.Len(), m.Close(context.Background()))
	// Output:
	// client: 1 of 2 secrets cannot be resolved:
	//   TRADEPULSE_ADMIN_TOKEN_ID: store env: get TRADEPULSE_ADMIN_TOKEN_ID: not found: neither TRADEPULSE_ADMIN_TOKEN nor TRADEPULSE_ADMIN_TOKEN_ID is set (set TRADEPULSE_ADMIN_TOKEN)
	// 7 <nil>
}

// In an example there is no *testing.T: eventstest.Example stands in for one. A
// test calls clienttest.New(t, ...).
func ExampleHandle() {
	eventstest.Example(func(t testing.TB) {
		kit := clienttest.New(t, map[secret.ID]string{"token": "first"})
		token := kit.Manager().Secret("token")

		fmt.Println(string(token.Get().Value.Reveal()))
		kit.Rotate("token", "second")
		kit.WaitApplied("token")
		fmt.Println(string(token.Get().Value.Reveal()))
		fmt.Println(token.Get().Value) // shows nothing
	})
	// Output:
	// first
	// second
	// [redacted]
}

// By name there is an error when the store could not be asked for too long.
func ExampleManager_Get() {
	eventstest.Example(func(t testing.TB) {
		m := clienttest.NewPolling(t, map[secret.ID]string{"token": "first"}).Manager()
		c, err := m.Get(t.Context(), "token")
		fmt.Println(c.Version.ID, c.Stale, err)
		_, err = m.Get(t.Context(), "another")
		fmt.Println(errors.Is(err, client.ErrUnknown))
	})
	// Output:
	// version-1 false <nil>
	// true
}

// A hook that cannot use a version keeps the one before in use.
func ExampleManager_Subscribe() {
	eventstest.Example(func(t testing.TB) {
		kit := clienttest.New(t, map[secret.ID]string{"dsn": "db-1"})
		m := kit.Manager()
		stop, err := m.Subscribe(t.Context(), "dsn", func(_ context.Context, c client.Change) error {
			if !strings.HasPrefix(string(c.Value.Reveal()), "db-") {
				return errors.New("this is no name of a database")
			}
			return nil
		})
		if err != nil {
			panic(err)
		}
		defer stop()
		kit.Rotate("dsn", "nonsense")
		fmt.Println("reported:", kit.WaitFailed("dsn"))
		fmt.Println("in use:", string(m.Secret("dsn").Get().Value.Reveal()))
	})
	// Output:
	// reported: this is no name of a database
	// in use: db-1
}

// A service whose credentials are refused asks for newer ones.
func ExampleManager_Refresh() {
	eventstest.Example(func(t testing.TB) {
		kit := clienttest.New(t, map[secret.ID]string{"token": "first"})
		m := kit.Manager()
		kit.Rotate("token", "second")
		err := m.Refresh(t.Context(), "token")
		fmt.Println(string(m.Secret("token").Get().Value.Reveal()), err)
	})
	// Output: second <nil>
}

// What a health endpoint can show.
func ExampleManager_Report() {
	eventstest.Example(func(t testing.TB) {
		r := clienttest.NewPolling(t, map[secret.ID]string{"token": "first"}).Manager().Report()
		fmt.Println(r.Service, r.Secrets[0].SecretID, r.Secrets[0].VersionID, r.Secrets[0].Status)
	})
	// Output: test token version-1 applied
}

// The previous key goes on to verify what it has signed.
func ExampleKeyring() {
	eventstest.Example(func(t testing.TB) {
		kit := clienttest.New(t, map[secret.ID]string{"key": "first"})
		keys, err := client.NewKeyring(t.Context(), kit.Manager(), "key", client.KeysVerifyHistory, 24*time.Hour)
		if err != nil {
			panic(err)
		}
		defer keys.Close()
		sign := func(k client.Key) []byte { return hmac.New(sha256.New, k.Value.Reveal()).Sum(nil) }

		signedWith, err := keys.Current(t.Context())
		if err != nil {
			panic(err)
		}
		mac := sign(signedWith)
		kit.Rotate("key", "second")
		kit.WaitApplied("key")

		old, err := keys.Key(t.Context(), signedWith.ID)
		fmt.Println(err, hmac.Equal(mac, sign(old)))
		now, err := keys.Current(t.Context())
		fmt.Println(err, now.ID == signedWith.ID)
	})
	// Output:
	// <nil> true
	// <nil> false
}

// A record that was changed shows, also after the key has been rotated. The new key
// signs a record of its own first.
func ExampleAuditLogger() {
	eventstest.Example(func(t testing.TB) {
		ctx := t.Context()
		kit := clienttest.New(t, map[secret.ID]string{"key": "first"})
		m := kit.Manager()
		keys, err := client.NewKeyring(ctx, m, "key", client.KeysVerifyHistory, 0)
		if err != nil {
			panic(err)
		}
		defer keys.Close()
		var file bytes.Buffer
		log, err := client.NewAuditLogger(ctx, m, keys, &file)
		if err != nil {
			panic(err)
		}
		defer log.Close()

		fmt.Println(log.Log("order.placed", map[string]string{"order": "17"}))
		kit.Rotate("key", "second")
		kit.WaitApplied("key")
		fmt.Println(log.Log("order.filled", map[string]string{"order": "17"}))

		n, _, err := client.VerifyAudit(bytes.NewReader(file.Bytes()), keys.Lookup(ctx))
		fmt.Println(n, err)
		n, _, err = client.VerifyAudit(strings.NewReader(strings.Replace(file.String(), "filled", "closed", 1)), keys.Lookup(ctx))
		fmt.Println(n, err)
	})
	// Output:
	// <nil>
	// <nil>
	// 3 <nil>
	// 2 audit: line 3: its MAC does not fit: it was changed, or its key is another
}

// What several processes wrote into one log.
func ExampleAuditVerifier() {
	eventstest.Example(func(t testing.TB) {
		ctx := t.Context()
		m := clienttest.NewPolling(t, map[secret.ID]string{"key": "first"}).Manager()
		keys, err := client.NewKeyring(ctx, m, "key", client.KeysVerifyHistory, 0)
		if err != nil {
			panic(err)
		}
		defer keys.Close()
		var collected bytes.Buffer
		for range 2 {
			log, err := client.NewAuditLogger(ctx, m, keys, &collected)
			if err == nil {
				err = log.Log("service.started", nil)
			}
			if err != nil {
				panic(err)
			}
			log.Close()
		}
		res, err := client.AuditVerifier{Key: keys.Lookup(ctx), Merged: true}.Verify(&collected)
		fmt.Println(res.Records, res.Chains, err)
	})
	// Output: 2 2 <nil>
}

// The previous token is accepted for an hour after a rotation.
func ExampleTokenAuthenticator() {
	eventstest.Example(func(t testing.TB) {
		kit := clienttest.New(t, map[secret.ID]string{"token": "first"})
		auth, err := client.NewTokenAuthenticator(t.Context(), kit.Manager(), "token", "admin", time.Hour)
		if err != nil {
			panic(err)
		}
		defer auth.Close()
		admin := auth.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		ask := func(token string) {
			r := httptest.NewRequest(http.MethodGet, "/admin", http.NoBody)
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			admin.ServeHTTP(w, r)
			fmt.Printf("%s: %d %s\n", token, w.Code, cmp.Or(w.Header().Get("WWW-Authenticate"), "welcome"))
		}
		kit.Rotate("token", "second")
		kit.WaitApplied("token")
		ask("second")
		ask("first")
		ask("third")
		fmt.Println(len(auth.PreviousUses()), "client sends the previous one")
	})
	// Output:
	// second: 200 welcome
	// first: 200 welcome
	// third: 401 Bearer realm="admin", error="invalid_token"
	// 1 client sends the previous one
}

// A client of another service is replaced as a whole.
func ExampleUpdater() {
	type mailer struct{ password string }
	eventstest.Example(func(t testing.TB) {
		kit := clienttest.New(t, map[secret.ID]string{"smtp": "first"})
		mail, err := client.NewUpdater(t.Context(), kit.Manager(), "smtp",
			func(_ context.Context, c client.Change) (*mailer, error) {
				return &mailer{password: string(c.Value.Reveal())}, nil // and log in
			},
			func(m *mailer) { fmt.Println("log out of", m.password) })
		if err != nil {
			panic(err)
		}
		defer mail.Close()

		err = mail.Use(func(m *mailer) error {
			kit.Rotate("smtp", "second")
			kit.WaitApplied("smtp")
			fmt.Println("still on", m.password)
			return nil
		})
		fmt.Println(err)
	})
	// Output:
	// still on first
	// log out of first
	// <nil>
	// log out of second
}

// A pool of database connections, each opened with what is current.
func ExampleConnector() {
	eventstest.Example(func(t testing.TB) {
		kit := clienttest.New(t, map[secret.ID]string{"db": `{"user":"app","password":"first"}`})
		server := &database{}
		server.password.Store(new("first"))
		db := sql.OpenDB(client.NewConnector(kit.Manager(), "db", server, func(v secret.Value) (string, error) {
			password, err := v.Field("/password")
			return "user:" + string(password.Reveal()), err
		}))
		defer db.Close()
		db.SetConnMaxLifetime(time.Minute) // below the secret's grace period
		fmt.Println(db.PingContext(t.Context()))
	})
	// Output: <nil>
}

// An HTTP client that sends the current token, to its origin only.
func ExampleBearerTransport() {
	eventstest.Example(func(t testing.TB) {
		var got string
		api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
		defer api.Close()
		kit := clienttest.New(t, map[secret.ID]string{"token": "first"})
		transport, err := client.NewBearerTransport(kit.Manager(), "token", api.URL, nil)
		if err != nil {
			panic(err)
		}
		hc := &http.Client{Transport: transport}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL, http.NoBody)
		if err != nil {
			panic(err)
		}
		resp, err := hc.Do(req)
		if err != nil {
			panic(err)
		}
		fmt.Println(got, resp.Body.Close())
	})
	// Output: Bearer first <nil>
}

// A server whose certificate is replaced while it runs.
func ExampleCertificate() {
	eventstest.Example(func(t testing.TB) {
		kit := clienttest.New(t, map[secret.ID]string{"tls": certificate(t, 7, time.Now().Add(time.Hour))})
		cert, err := client.NewCertificate(t.Context(), kit.Manager(), "tls")
		if err != nil {
			panic(err)
		}
		defer cert.Close()
		config := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: cert.GetCertificate}

		served, err := config.GetCertificate(nil)
		fmt.Println(served.Leaf.SerialNumber, err, config.MinVersion == tls.VersionTLS13)
	})
	// Output: 7 <nil> true
}
