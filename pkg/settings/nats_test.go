package settings_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/settings"
)

// files are a certificate for 127.0.0.1 that signed itself, and its key.
type files struct{ cert, key string }

func newFiles(t *testing.T) files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return files{write(t, &pem.Block{Type: "CERTIFICATE", Bytes: cert}), write(t, &pem.Block{Type: "PRIVATE KEY", Bytes: der})}
}

func write(t *testing.T, block *pem.Block) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve answers handshakes of clients that have the certificate, and returns its
// address.
func serve(t *testing.T, own, client files) string {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(own.cert, own.key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(client.cert)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(text)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := c.Write([]byte("x")); err == nil {
				_, _ = c.Read(make([]byte, 1))
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return l.Addr().String()
}

// TestEachFileOfTLSCounts: a server with a certificate of its own, which asks for
// one of the client, is reached with all files and with none less.
func TestEachFileOfTLSCounts(t *testing.T) {
	t.Parallel()
	server, client := newFiles(t), newFiles(t)
	addr := serve(t, server, client)
	for name, c := range map[string]struct {
		tls     settings.TLS
		refused bool
		invalid string
	}{
		"all":                                 {settings.TLS{CA: server.cert, Cert: client.cert, Key: client.key}, false, ""},
		"no authority":                        {settings.TLS{Cert: client.cert, Key: client.key}, true, ""},
		"another authority":                   {settings.TLS{CA: client.cert, Cert: client.cert, Key: client.key}, true, ""},
		"no certificate":                      {settings.TLS{CA: server.cert}, true, ""},
		"another certificate":                 {settings.TLS{CA: server.cert, Cert: server.cert, Key: server.key}, true, ""},
		"no key":                              {settings.TLS{CA: server.cert, Cert: client.cert}, false, "cert and key go together"},
		"a key alone":                         {settings.TLS{CA: server.cert, Key: client.key}, false, "cert and key go together"},
		"a key of another":                    {settings.TLS{CA: server.cert, Cert: client.cert, Key: server.key}, false, "cert and key: "},
		"an authority that is no certificate": {settings.TLS{CA: server.key}, false, "holds no certificate"},
		"a file that is not there":            {settings.TLS{CA: "/nowhere/ca.pem"}, false, "/nowhere/ca.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := c.tls.Config()
			if c.invalid != "" {
				if err == nil || !strings.Contains(err.Error(), c.invalid) {
					t.Errorf("%v, want %q in it", err, c.invalid)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := shake(t, addr, cfg); (err != nil) != c.refused {
				t.Errorf("handshake: %v, want that it is refused: %t", err, c.refused)
			}
		})
	}
	if cfg, err := (settings.TLS{}).Config(); cfg != nil || err != nil {
		t.Errorf("no file: %v, %v, want none", cfg, err)
	}
}

// shake also reads, since a client of TLS 1.3 hears of a refusal only then.
func shake(t *testing.T, addr string, cfg *tls.Config) error {
	t.Helper()
	c, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err = c.Read(make([]byte, 1))
	return err
}

func TestOneWayToLogIn(t *testing.T) {
	t.Parallel()
	password := settings.Ref{Env: "PASSWORD"}
	for name, c := range map[string]struct {
		creds settings.Credentials
		want  string
	}{
		"none":                  {settings.Credentials{}, ""},
		"a file of credentials": {settings.Credentials{CredsFile: "a"}, ""},
		"an nkey":               {settings.Credentials{NKeyFile: "a"}, ""},
		"a user":                {settings.Credentials{User: "a", Password: password}, ""},
		"two":                   {settings.Credentials{CredsFile: "a", NKeyFile: "b"}, "more than one way"},
		"a file and a password": {settings.Credentials{CredsFile: "a", Password: password}, "more than one way"},
		"a user alone":          {settings.Credentials{User: "a"}, "go together"},
		"a password alone":      {settings.Credentials{Password: password}, "go together"},
	} {
		if err := c.creds.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
