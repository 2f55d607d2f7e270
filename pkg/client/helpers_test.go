package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"database/sql/driver"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// resource is what an Updater makes.
type resource struct {
	password string
	users    atomic.Int32
	closed   atomic.Bool
}

// TestAnUpdaterReleasesAfterTheLastUser: users that run while the secret is
// rotated never see something that is closed, and what is old is closed once.
func TestAnUpdaterReleasesAfterTheLastUser(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "value-0")
	r.write(token, "first-token")
	m := r.manager(nil)
	var built, released atomic.Int32
	u, err := client.NewUpdater(t.Context(), m, key,
		func(_ context.Context, c client.Change) (*resource, error) {
			built.Add(1)
			return &resource{password: string(c.Value.Reveal())}, nil
		},
		func(res *resource) {
			released.Add(1)
			if res.closed.Swap(true) || res.users.Load() != 0 {
				t.Error("it was released twice, or while it was used")
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := u.Use(func(res *resource) error {
					res.users.Add(1)
					defer res.users.Add(-1)
					if res.closed.Load() {
						t.Error("something that is closed was used")
					}
					return nil
				})
				if err != nil {
					t.Errorf("use: %v", err)
				}
			}
		})
	}
	first, done, err := u.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		want := fmt.Sprintf("value-%d", i+1)
		r.notify(key, r.write(key, want))
		r.eventually(want+" is in use", func() bool {
			var got string
			err := u.Use(func(res *resource) error { got = res.password; return nil })
			return err == nil && got == want
		})
	}
	if first.closed.Load() {
		t.Error("the first one was released while it was held")
	}
	done()
	done()
	close(stop)
	users.Wait() // one of them may have been the last user of the first one
	if !first.closed.Load() {
		t.Error("the first one was not released after its last user")
	}
	u.Close()
	u.Close()
	if built.Load() != released.Load() || built.Load() != 11 {
		t.Errorf("built %d, released %d", built.Load(), released.Load())
	}
	if err := u.Use(func(*resource) error { return nil }); !errors.Is(err, client.ErrClosed) {
		t.Errorf("after closing: %v", err)
	}
}

// TestAnUpdaterKeepsTheOldOnError: and builds no second one because another hook
// failed.
func TestAnUpdaterKeepsTheOldOnError(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	var broken, other atomic.Bool
	var built atomic.Int32
	u, err := client.NewUpdater(t.Context(), m, key, func(_ context.Context, c client.Change) (string, error) {
		if broken.Load() {
			return "", errors.New("cannot log in")
		}
		built.Add(1)
		return string(c.Value.Reveal()), nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := m.Subscribe(t.Context(), key, func(context.Context, client.Change) error {
		if other.Load() {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	is := func(want string) bool {
		return u.Use(func(got string) error {
			if got != want {
				return errors.New("another")
			}
			return nil
		}) == nil
	}
	broken.Store(true)
	r.notify(key, r.write(key, "second-value"))
	r.eventually("the failure is reported", func() bool {
		s := r.running()
		return s.Status == events.StatusFailed && strings.Contains(s.Reason, "cannot log in")
	})
	if !is("first-value") {
		t.Error("the old one is not in use")
	}
	other.Store(true)
	broken.Store(false)
	r.eventually("the other hook refuses", func() bool { return strings.Contains(r.running().Reason, "not yet") })
	if !is("first-value") {
		t.Error("what another hook refused is in use")
	}
	other.Store(false)
	r.eventually("it is applied", func() bool { return r.running().Status == events.StatusApplied })
	if !is("second-value") {
		t.Error("the new one is not in use")
	}
	if built.Load() != 2 {
		t.Errorf("built %d times, want once for each version", built.Load())
	}
}

// TestAnUpdaterReportsWhatRequestsUse: the version before is used until the last request
// that began with it has ended, also after Close.
func TestAnUpdaterReportsWhatRequestsUse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	m := r.manager(func(c *client.Config) { c.IDs = []secret.ID{key} })
	u, err := client.NewUpdater(t.Context(), m, key, func(_ context.Context, c client.Change) (string, error) { return string(c.Value.Reveal()), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	accepts := func(what string, v secret.VersionID, before ...secret.VersionID) {
		t.Helper()
		r.use(what, key, func(u events.User) bool {
			return u.Use.VersionID == v && u.Use.Accepts != nil && slices.Equal(u.Use.Accepts, before)
		})
	}
	_, first, err := u.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	accepts("a request uses the version before", v2, v1)
	_, second, err := u.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	first()
	accepts("it has ended", v2)
	u.Close()
	v3 := r.write(key, "third-value")
	r.notify(key, v3)
	accepts("a request outlives the Updater", v3, v2)
	second()
	accepts("it has ended, too", v3)
}

// database is one that lets in every client that knows its password.
type database struct {
	password atomic.Pointer[string]
	logins   atomic.Int32
}

func (d *database) Open(name string) (driver.Conn, error) {
	d.logins.Add(1)
	if name != "user:"+*d.password.Load() {
		return nil, fmt.Errorf("access denied for %q", name)
	}
	return session{}, nil
}

type session struct{}

func (session) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (session) Close() error                        { return nil }
func (session) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }

// TestADatabaseIsOpenedWithWhatIsCurrent: also when the database changed its
// password before the service was told.
func TestADatabaseIsOpenedWithWhatIsCurrent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(func(c *client.Config) { c.Bus = nil })
	var server database
	server.password.Store(new("first-value"))
	db := sql.OpenDB(client.NewConnector(m, key, &server, func(v secret.Value) (string, error) { return "user:" + string(v.Reveal()), nil }))
	defer db.Close()
	db.SetMaxIdleConns(0) // each ping logs in
	if err := db.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.password.Store(new("second-value"))
	r.write(key, "second-value")
	if err := db.PingContext(t.Context()); err != nil || server.logins.Load() != 3 {
		t.Errorf("after %d logins: %v", server.logins.Load(), err)
	}
	server.password.Store(new("unknown-to-all"))
	err := db.PingContext(t.Context())
	if err == nil || strings.Contains(err.Error(), "second-value") || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("err %v", err)
	}
}

// TestABearerTokenGoesToItsOriginOnly: a token that was rotated is replaced
// within the request, and a redirect does not carry it away.
func TestABearerTokenGoesToItsOriginOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(func(c *client.Config) { c.Bus = nil })
	var thief atomic.Pointer[string]
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		thief.Store(new(r.Header.Get("Authorization")))
	}))
	defer elsewhere.Close()
	var accepted atomic.Pointer[string]
	accepted.Store(new("first-token"))
	var body atomic.Pointer[string]
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
			w.WriteHeader(http.StatusInternalServerError)
		case r.URL.Path == "/redirect":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case r.Header.Get("Authorization") != "Bearer "+*accepted.Load():
			w.WriteHeader(http.StatusUnauthorized)
		default:
			body.Store(new(string(b)))
		}
	}))
	defer api.Close()
	tr, err := client.NewBearerTransport(m, token, api.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	hc := &http.Client{Transport: tr}
	post := func(path string, body io.Reader) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if req.Header.Get("Authorization") != "" {
			t.Error("the caller's request was changed")
		}
		return resp.StatusCode
	}
	if code := post("/", strings.NewReader("one")); code != http.StatusOK || *body.Load() != "one" {
		t.Errorf("the first token is answered %d", code)
	}
	accepted.Store(new("second-token"))
	r.write(token, "second-token")
	if code := post("/", strings.NewReader("two")); code != http.StatusOK || *body.Load() != "two" {
		t.Errorf("right after the rotation it is answered %d", code)
	}
	post("/redirect", nil)
	if got := thief.Load(); got == nil || *got != "" {
		t.Error("the redirect was not followed, or it carried the token away")
	}
	accepted.Store(new("unknown-to-all"))
	if code := post("/", io.MultiReader(strings.NewReader("three"))); code != http.StatusUnauthorized {
		t.Errorf("a token that is refused is answered %d", code)
	}
	for _, bad := range []string{"", "api.example.com", "ftp://api.example.com", "https://api.example.com/path", "https://user@api.example.com"} {
		if _, err := client.NewBearerTransport(m, token, bad, nil); err == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}

// certificate returns a self-signed pair as PEM.
func certificate(t testing.TB, serial int64, notAfter time.Time) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestACertificateIsReplacedWhileTheServerRuns: handshakes get the current one,
// and one that is of no use is refused.
func TestACertificateIsReplacedWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, certificate(t, 1, time.Now().Add(time.Hour)))
	r.write(token, "first-token")
	m := r.manager(nil)
	cert, err := client.NewCertificate(t.Context(), m, key)
	if err != nil {
		t.Fatal(err)
	}
	defer cert.Close()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: cert.GetCertificate}
	srv.StartTLS()
	defer srv.Close()
	serial := func() int64 {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "example.test"}} //nolint:gosec // which one it is, is looked at
		conn, err := d.DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return 0
		}
		defer conn.Close()
		tc, ok := conn.(*tls.Conn)
		if !ok {
			return 0
		}
		return tc.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Errorf("the certificate is number %d", n)
	}
	r.notify(key, r.write(key, certificate(t, 2, time.Now().Add(time.Hour))))
	r.eventually("the second one is served", func() bool { return serial() == 2 })
	key4, _, _ := strings.Cut(certificate(t, 4, time.Now().Add(time.Hour)), "-----BEGIN CERTIFICATE")
	mixed := key4 + "\n" + certificate(t, 5, time.Now().Add(time.Hour))
	for want, text := range map[string]string{
		"has expired":       certificate(t, 3, time.Now().Add(-time.Minute)),
		"does not match":    mixed,
		"failed to find":    "no PEM at all",
		"failed to find an": certificate(t, 6, time.Now().Add(time.Hour))[:100],
	} {
		r.notify(key, r.write(key, text))
		r.eventually("it is refused because it "+want, func() bool { return strings.Contains(r.running().Reason, want) })
		if n := serial(); n != 2 {
			t.Errorf("%s: number %d is served", want, n)
		}
	}
}
