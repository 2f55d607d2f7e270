package vault_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// identity is a certificate that signed itself, for servers and clients on loopback.
type identity struct {
	cert tls.Certificate
	pem  []byte
	key  []byte // in PEM
}

func newIdentity(t *testing.T, name string) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
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
	return &identity{
		cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}),
	}
}

// save replaces files by renaming.
func save(t *testing.T, files map[string][]byte) {
	t.Helper()
	for path, content := range files {
		if err := os.WriteFile(path+".new", content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheFilesOfTLSAreReadAgain: the authority of the server and the certificate of the
// client are replaced in their files while the driver is in use. A file that is torn
// changes nothing.
func TestTheFilesOfTLSAreReadAgain(t *testing.T) {
	t.Parallel()
	t.Run("a file of authorities", func(t *testing.T) {
		t.Parallel()
		readAgain(t, func(cfg *vault.Config, _ map[string]string, ca string) { cfg.CACert = ca })
	})
	t.Run("a directory of authorities", func(t *testing.T) {
		t.Parallel()
		readAgain(t, func(_ *vault.Config, env map[string]string, ca string) { env["BAO_CAPATH"] = filepath.Dir(ca) })
	})
}

func readAgain(t *testing.T, believes func(cfg *vault.Config, env map[string]string, ca string)) {
	t.Helper()
	bao := &asked{}
	var serves atomic.Pointer[identity]
	var client atomic.Pointer[[]byte] // DER of the certificate that was presented last
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			client.Store(&r.TLS.PeerCertificates[0].Raw)
		}
		if strings.HasSuffix(r.URL.Path, "/lookup-self") {
			_, _ = w.Write([]byte(`{"data": {"ttl": 0}}`))
			return
		}
		bao.ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{ClientAuth: tls.RequestClientCert, Certificates: []tls.Certificate{serves.Load().cert}}, nil
	}}
	dir := t.TempDir()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	replace := func() (own *identity) {
		next := newIdentity(t, "server")
		own = newIdentity(t, "client")
		save(t, map[string][]byte{ca: next.pem, cert: own.pem, key: own.key})
		serves.Store(next)
		return own
	}
	own := replace()
	server.StartTLS()
	defer server.Close()
	env := map[string]string{"BAO_CLIENT_CERT": cert, "BAO_CLIENT_KEY": key}
	cfg := vault.Config{
		Address: server.URL, Auth: vault.Token{Token: "t"},
		Lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}
	believes(&cfg, env, ca)
	d := open(t, cfg)
	ask := func(when string, own *identity) {
		t.Helper()
		server.CloseClientConnections()
		if _, _, err := d.Get(t.Context(), "a", store.Selector{}); errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", when, err)
		}
		if got := client.Load(); got == nil || !bytes.Equal(*got, own.cert.Certificate[0]) {
			t.Errorf("%s: the client presented another certificate, or none", when)
		}
	}
	ask("at first", own)
	own = replace()
	ask("after both were replaced", own)
	save(t, map[string][]byte{ca: []byte("torn"), cert: []byte("torn")})
	ask("while the files are torn", own)
	own = replace()
	ask("after they were replaced again", own)
}
