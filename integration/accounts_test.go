package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	accountSecret = secret.ID("TRADEPULSE_AUDIT_SECRET_ID")
	apiPrefix     = "ROTATOR.API"
)

// accounts is a server that runs the configuration of deployments/nats.
type accounts struct {
	t     *testing.T
	url   string
	roots *x509.CertPool
	keys  map[string]nkeys.KeyPair // :: user → key
	may   map[string][]string      // :: public key → the subjects that its user may publish on

	mu        sync.Mutex
	forwarded map[secret.VersionID]bool // :: rotated versions that were handed out for EventBridge
	denied    []string                  // what the server refused on connections that act within their rights
}

// startAccounts starts the server. It sets environment variables, from which
// the configuration takes its keys.
func startAccounts(t *testing.T) *accounts {
	t.Helper()
	a := &accounts{t: t, keys: map[string]nkeys.KeyPair{}, may: map[string][]string{}, forwarded: map[secret.VersionID]bool{}}
	for _, user := range []string{"SCHEDULER", "WORKER", "NOTIFIER", "OPERATOR", "AUDIT_API", "ADMIN_API"} {
		key, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, err := key.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		a.keys[user] = key
		t.Setenv("NATS_"+user+"_NKEY", public)
	}
	a.certificate(t)
	t.Setenv("NATS_STORE_DIR", t.TempDir())
	opts, err := server.ProcessConfigFile("../deployments/nats/server.conf")
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	if !opts.SyncAlways {
		t.Error("the configuration does not sync every write")
	}
	for _, user := range opts.Nkeys {
		a.may[user.Nkey] = user.Permissions.Publish.Allow
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server did not start")
	}
	a.url = s.ClientURL()
	return a
}

// certificate makes a certificate for the server and trusts it.
func (a *accounts) certificate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nats"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"CERT": {Type: "CERTIFICATE", Bytes: cert}, "KEY": {Type: "PRIVATE KEY", Bytes: der}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("NATS_TLS_"+name, path)
	}
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	a.roots = x509.NewCertPool()
	a.roots.AddCert(parsed)
}

// connect logs a user in the way the programs do.
func (a *accounts) connect(user string) *nats.Conn {
	a.t.Helper()
	public, err := a.keys[user].PublicKey()
	if err != nil {
		a.t.Fatal(err)
	}
	nc, err := events.Connect(a.t.Context(), events.ConnectConfig{
		URL: a.url, Name: user, NKey: public, Sign: a.keys[user].Sign, TLS: &tls.Config{RootCAs: a.roots, MinVersion: tls.VersionTLS13}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(nc.Close)
	return nc
}

// lawful is connect for a program that is expected to stay within their rights.
func (a *accounts) lawful(user string) *nats.Conn {
	a.t.Helper()
	nc := a.connect(user)
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.denied = append(a.denied, user+": "+err.Error())
	})
	return nc
}

// TestTheAccountsOfTheTemplate runs the whole loop under deployments/nats: every
// program as a user of its own, each service in an account of its own. Then a
// service tries what it must not do.
func TestTheAccountsOfTheTemplate(t *testing.T) { //nolint:paralleltest // it sets the environment
	a := startAccounts(t)
	s := &site{t: t, log: slog.New(slog.DiscardHandler), master: make([]byte, 32), specs: []secret.Spec{{
		ID: accountSecret, Store: "embedded", TTL: time.Hour, RefreshMargin: -1, Services: []string{"audit-api"}, Create: true, Grace: time.Second, Fence: time.Second,
	}}}
	s.keys, s.signer, s.trusted = newKeys(t)
	stop := a.deploy(s)
	t.Run("the whole loop", func(t *testing.T) { a.loop(t, s) })
	t.Run("who reads", func(t *testing.T) { a.readers(t, s) })
	t.Run("every program shows the status page", func(t *testing.T) { a.pages(t, s) })
	stop()
	a.mu.Lock()
	for _, d := range a.denied {
		t.Errorf("denied to %s", d)
	}
	a.mu.Unlock()
	t.Run("what a service must not do", func(t *testing.T) { a.forbidden(t, s) })
	t.Run("headers that a service must not use", func(t *testing.T) { a.headers(t, s) })
}

// deploy runs scheduler, worker and notifier.
func (a *accounts) deploy(s *site) (stop func()) {
	a.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(a.t.Context()))
	var wg sync.WaitGroup
	for user, role := range map[string]func(context.Context, *nats.Conn) error{"SCHEDULER": s.scheduler(time.Hour), "WORKER": s.worker(2), "NOTIFIER": s.notifier()} {
		nc, streams := a.lawful(user), s.streams
		streams.EventBridge = user == "NOTIFIER"
		if err := s.bus(nc, user).EnsureStreams(ctx, streams); err != nil {
			a.t.Fatalf("%s: %v", user, err)
		}
		if streams.EventBridge {
			wg.Go(func() { a.forward(ctx, s.bus(nc, user)) })
		}
		wg.Go(func() {
			if err := role(ctx, nc); err != nil {
				a.t.Errorf("%s: %v", user, err)
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

// forward stands for what the notifier puts on an event bus of AWS.
func (a *accounts) forward(ctx context.Context, bus *events.Bus) {
	err := bus.ConsumeBatches(ctx, events.BatchConfig{Consumer: events.EventBridgeConsumer}, func(_ context.Context, ds []events.Delivery) []error {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, d := range ds {
			a.forwarded[d.Event.Data.VersionID] = a.forwarded[d.Event.Data.VersionID] || d.Event.Type == events.TypeRotated
		}
		return make([]error, len(ds))
	})
	if err != nil {
		a.t.Errorf("forward: %v", err)
	}
}

// handedOn reports whether the announcement of a version was handed out for
// EventBridge.
func (a *accounts) handedOn(v secret.VersionID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.forwarded[v]
}

// loop makes a first version, then rotates: the service, which reads the store
// with rights of its own, takes the new version into use, and the one before
// is retired.
func (a *accounts) loop(t *testing.T, s *site) {
	t.Helper()
	operator := s.bus(a.lawful("OPERATOR"), "operator")
	vault := s.catalog(a.lawful("WORKER")) // stands for the service's own access to a store
	waittest.Until(t, "the service may read its secret", func() error {
		_, st, err := vault.locate(accountSecret)
		if err == nil {
			_, err = st.Describe(t.Context(), string(accountSecret))
		}
		return err
	})
	bus, err := events.New(a.lawful("AUDIT_API"), events.Config{Verifier: s.trusted, APIPrefix: apiPrefix, Logger: s.log})
	if err != nil {
		t.Fatal(err)
	}
	var m *client.Manager
	waittest.Until(t, "the service starts", func() error {
		m, err = client.New(t.Context(), client.Config{
			Service: "audit-api", Instance: "one", Source: vault.source, IDs: []secret.ID{accountSecret}, Bus: bus, PollInterval: -1, Lease: 3 * time.Second, Logger: s.log,
		})
		return err
	})
	first := m.Secret(accountSecret).Get().Version.ID
	if err := operator.RotateNow(t.Context(), manual(s.specs[0], first)); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the rotation is over", func() error {
		if m.Secret(accountSecret).Get().Version.ID == first {
			return errors.New("the service does not use the new version")
		}
		log, err := operator.Last(t.Context(), events.TypeRollout, accountSecret)
		if err != nil || log.Event.Data.Rollout == nil || log.Event.Data.Rollout.State != events.RolloutRetired {
			return fmt.Errorf("the version before is not retired, err %w", err)
		}
		if !a.handedOn(m.Secret(accountSecret).Get().Version.ID) {
			return errors.New("the version was not handed out for EventBridge")
		}
		return nil
	})
	receipts, err := operator.Receipts(t.Context(), accountSecret)
	if err != nil || len(receipts) == 0 {
		t.Fatalf("the operator reads %d receipts, err %v", len(receipts), err)
	}
	for _, c := range inspect.CheckReceipts(bytes.Join(texts(receipts), nil), operator.Trusts) {
		if !c.Valid {
			t.Errorf("receipt: %s", c.Sentence())
		}
	}
	last, err := bus.LastNotified(t.Context(), "audit-api", accountSecret)
	if err != nil || last.Event.Data.VersionID != m.Secret(accountSecret).Get().Version.ID {
		t.Errorf("the service reads %s as its last notification, err %v", last.Event.Data.VersionID, err)
	}
	if err := onlyLive(t.Context(), operator, accountSecret, m.Instance()); err != nil {
		t.Error(err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
	vars := a.variables(t, s)
	a.configured(t, operator, vars)
	a.python(t, operator, vars)
}

func texts(all []json.RawMessage) (out [][]byte) {
	for _, t := range all {
		out = append(out, t)
	}
	return out
}

// variables are the environment of a service that its operator has put into an
// account.
func (a *accounts) variables(t *testing.T, s *site) map[string]string {
	t.Helper()
	dir := t.TempDir()
	seed, err := a.keys["AUDIT_API"].Seed()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "service.nk"), seed, 0o600), s.signer.Save(filepath.Join(dir, "signing.key"))); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		strings.TrimSuffix(string(accountSecret), "_ID"): "A-Value-For-Tests-1", "ROTATOR_NATS_URL": a.url, "ROTATOR_NATS_API_PREFIX": apiPrefix, "ROTATOR_NATS_TLS_CA": os.Getenv("NATS_TLS_CERT"),
		"ROTATOR_NATS_CREDENTIALS_NKEY_FILE": filepath.Join(dir, "service.nk"), "ROTATOR_TRUSTED_KEYS": filepath.Join(dir, "signing.key.pub"),
	}
}

// configured is a Go service.
func (a *accounts) configured(t *testing.T, operator *events.Bus, vars map[string]string) {
	t.Helper()
	var log lockedBuffer
	c, err := setup.Open(t.Context(), setup.Options{
		Service: "audit-api", IDs: []secret.ID{accountSecret}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the configured service reports", func() error {
		return onlyLive(t.Context(), operator, accountSecret, c.Instance())
	})
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	// What it may not do shows here only.
	if text := log.String(); strings.Contains(text, "nats.error") {
		t.Errorf("not all that it asked for was granted:\n%s", text)
	}
}

// python is the same in Python.
func (a *accounts) python(t *testing.T, operator *events.Bus, vars map[string]string) {
	t.Helper()
	p := startPython(t, "audit-api", vars, accountSecret)
	waittest.Until(t, "the service in Python reports", func() error {
		if err := onlyLive(t.Context(), operator, accountSecret, pythonInstance); err != nil {
			return fmt.Errorf("%w; it said:\n%s", err, p.log.String())
		}
		return nil
	})
	p.stop()
	if text := p.log.String(); strings.Contains(text, "nats.error") || strings.Contains(text, "secret.last_notified") {
		t.Errorf("not all that it asked for was granted:\n%s", text)
	}
	if users, err := live(t.Context(), operator, accountSecret); err != nil || len(users) != 0 {
		t.Errorf("%d instances live after its end, err %v", len(users), err)
	}
}
