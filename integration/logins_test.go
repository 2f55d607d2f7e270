//go:build !race

// The server reads its options without a lock, so they cannot be replaced in this
// process under the race detector.

package integration

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/settings"
)

// busServer is a nats-server on a socket, and the files that its clients log in with.
type busServer struct {
	*server.Server

	t    *testing.T
	opts *server.Options
}

func startBus(t *testing.T, opts *server.Options) *busServer {
	t.Helper()
	opts.Host, opts.Port, opts.JetStream, opts.StoreDir, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, true, t.TempDir(), true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server did not start")
	}
	addr, ok := s.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("the server has no port")
	}
	opts.Port = addr.Port
	return &busServer{Server: s, t: t, opts: opts}
}

// reload changes what the server lets in, and closes every connection.
func (s *busServer) reload(change func(*server.Options)) {
	s.t.Helper()
	next := s.opts.Clone()
	change(next)
	if err := s.ReloadOptions(next); err != nil {
		s.t.Fatal(err)
	}
	s.opts = next
	s.disconnect()
}

func (s *busServer) disconnect() {
	s.t.Helper()
	all, err := s.Connz(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range all.Conns {
		_ = s.DisconnectClientByID(c.Cid) // it may have ended by itself
	}
}

// flow publishes numbers over one connection until the test stops it, each of them
// until the server has acknowledged it.
type flow struct {
	t     *testing.T
	js    jetstream.JetStream
	nc    *nats.Conn
	acked atomic.Int64
	end   context.CancelFunc
	wg    sync.WaitGroup
}

func startFlow(t *testing.T, n settings.NATS) *flow {
	t.Helper()
	cfg, err := n.Connect(os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	nc, err := events.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	f := &flow{t: t, nc: nc}
	if f.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	if _, err = f.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FLOW", Subjects: []string{"flow"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.end = cancel
	f.wg.Go(func() {
		for i := 0; ctx.Err() == nil; {
			text := strconv.Itoa(i)
			try, done := context.WithTimeout(ctx, time.Second)
			if _, err := f.js.Publish(try, "flow", []byte(text), jetstream.WithMsgID(text)); err == nil {
				i++
				f.acked.Store(int64(i))
			}
			done()
		}
	})
	return f
}

// goesOn waits until more messages are acknowledged.
func (f *flow) goesOn(after string) {
	f.t.Helper()
	want := f.acked.Load() + 20
	waittest.Until(f.t, "messages flow after "+after, func() error {
		if have := f.acked.Load(); have < want {
			return fmt.Errorf("%d messages of %d, the last error is %w", have, want, cmp.Or(f.nc.LastError(), nats.ErrTimeout))
		}
		return nil
	})
}

// complete stops the flow and holds that every number was stored once and in order.
func (f *flow) complete() {
	f.t.Helper()
	f.end()
	f.wg.Wait()
	c, err := f.js.OrderedConsumer(f.t.Context(), "FLOW", jetstream.OrderedConsumerConfig{})
	if err != nil {
		f.t.Fatal(err)
	}
	for i := range f.acked.Load() {
		m, err := c.Next()
		if err != nil {
			f.t.Fatal(err)
		}
		if string(m.Data()) != strconv.FormatInt(i, 10) {
			f.t.Fatalf("message %d is %s", i, m.Data())
		}
	}
}

// replaceFile writes a file as programs do that rotate credentials: by renaming.
func replaceFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// user returns an nkey of a user: its public key and its seed.
func user(t *testing.T) (public string, seed []byte) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err == nil {
		public, err = pair.PublicKey()
	}
	if err == nil {
		seed, err = pair.Seed()
	}
	if err != nil {
		t.Fatal(err)
	}
	return public, seed
}

// TestAnNKeyFileIsReadAtEachLogin: the server lets only the new key in, and the file has
// it a moment before.
func TestAnNKeyFileIsReadAtEachLogin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "user.nk")
	public, seed := user(t)
	replaceFile(t, file, seed)
	s := startBus(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}})
	f := startFlow(t, settings.NATS{URL: s.ClientURL(), Credentials: settings.Credentials{NKeyFile: file}})
	f.goesOn("the start")
	for range 2 {
		public, seed = user(t)
		replaceFile(t, file, seed)
		s.reload(func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
		f.goesOn("a new nkey")
	}
	f.complete()
}

// operator signs accounts, and keeps them for a server.
type operator struct {
	server.MemAccResolver

	pair nkeys.KeyPair
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	pair, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	return &operator{pair: pair}
}

// account returns a new account that may store so many bytes.
func (o *operator) account(t *testing.T, bytes int64) (*jwt.AccountClaims, nkeys.KeyPair) {
	t.Helper()
	pair, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewAccountClaims(publicKey(t, pair))
	claims.Limits.DiskStorage = bytes
	token, err := claims.Encode(o.pair)
	if err == nil {
		err = o.Store(claims.Subject, token)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims, pair
}

func publicKey(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// credentialsFile returns the content of a file as nsc writes it, of a new user of the
// account, and the public key of the user.
func credentialsFile(t *testing.T, account nkeys.KeyPair) (public string, content []byte) {
	t.Helper()
	public, seed := user(t)
	claims := jwt.NewUserClaims(public)
	token, err := claims.Encode(account)
	if err == nil {
		content, err = jwt.FormatUserConfig(token, seed)
	}
	if err != nil {
		t.Fatal(err)
	}
	return public, content
}

// TestACredentialsFileIsReadAtEachLogin: the account revokes the old user.
func TestACredentialsFileIsReadAtEachLogin(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	claims, account := o.account(t, jwt.NoLimit)
	_, system := o.account(t, 0)
	file := filepath.Join(t.TempDir(), "user.creds")
	public, content := credentialsFile(t, account)
	replaceFile(t, file, content)
	s := startBus(t, &server.Options{TrustedKeys: []string{publicKey(t, o.pair)}, AccountResolver: &o.MemAccResolver, SystemAccount: publicKey(t, system)})
	f := startFlow(t, settings.NATS{URL: s.ClientURL(), Credentials: settings.Credentials{CredsFile: file}})
	f.goesOn("the start")
	for range 2 {
		old := public
		public, content = credentialsFile(t, account)
		replaceFile(t, file, content)
		claims.Revoke(old)
		acc, err := s.LookupAccount(publicKey(t, account))
		if err != nil {
			t.Fatal(err)
		}
		s.UpdateAccountClaims(acc, claims)
		s.disconnect()
		f.goesOn("a new user")
	}
	f.complete()
}

// pair is a certificate that signed itself.
type pair struct {
	cert    tls.Certificate
	pool    *x509.CertPool
	certPEM []byte
	keyPEM  []byte
}

func newPair(t *testing.T) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool: x509.NewCertPool()}
	p.certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs})
	p.pool.AppendCertsFromPEM(p.certPEM)
	return p
}

// TestTheFilesOfTLSAreReadAtEachConnection: the server gets a certificate of another
// authority, and lets only the new certificate of the client in.
func TestTheFilesOfTLSAreReadAtEachConnection(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := settings.TLS{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	next := func() *tls.Config {
		serves, client := newPair(t), newPair(t)
		replaceFile(t, files.CA, serves.certPEM)
		replaceFile(t, files.Cert, client.certPEM)
		replaceFile(t, files.Key, client.keyPEM)
		return &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{serves.cert}, ClientCAs: client.pool, ClientAuth: tls.RequireAndVerifyClientCert,
		}
	}
	s := startBus(t, &server.Options{TLS: true, TLSVerify: true, TLSTimeout: 10, TLSConfig: next()})
	f := startFlow(t, settings.NATS{URL: s.ClientURL(), TLS: files})
	f.goesOn("the start")
	for range 2 {
		config := next()
		s.reload(func(o *server.Options) { o.TLSConfig = config })
		f.goesOn("new certificates")
	}
	f.complete()
}
