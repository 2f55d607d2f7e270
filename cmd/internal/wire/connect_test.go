package wire_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestProgramsAndServicesConnectAlike: the same variables connect both to a server
// that has a certificate of its own authority and asks for a certificate, a user and
// a password.
func TestProgramsAndServicesConnectAlike(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	vars := map[string]string{
		"ROTATOR_NATS_TLS_CA": filepath.Join(dir, "cert.pem"), "ROTATOR_NATS_TLS_CERT": filepath.Join(dir, "cert.pem"), "ROTATOR_NATS_TLS_KEY": filepath.Join(dir, "key.pem"),
		"ROTATOR_NATS_CREDENTIALS_USER": "user", "ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE": filepath.Join(dir, "password"),
	}
	cert := writeCertificate(t, vars["ROTATOR_NATS_TLS_CERT"], vars["ROTATOR_NATS_TLS_KEY"])
	if err := os.WriteFile(vars["ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE"], []byte("Pass-Word-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startTLS(t, cert)
	vars["ROTATOR_NATS_URL"] = "tls://" + s.Addr().String()

	var environ []string
	for name, text := range vars {
		environ = append(environ, name+"="+text)
	}
	cfg, err := config.Load("", environ)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	parts, err := wire.Open(t.Context(), wire.Options{Config: cfg, Role: "test", Listen: true, Make: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := parts.Close(); err != nil {
			t.Error(err)
		}
	})

	signer, err := events.GenerateSigner()
	if err == nil {
		err = signer.Save(filepath.Join(dir, "signing.key"))
	}
	if err != nil {
		t.Fatal(err)
	}
	vars["ROTATOR_TRUSTED_KEYS"], vars["TOKEN"] = filepath.Join(dir, "signing.key.pub"), "a-token-for-the-test"
	c, err := setup.Open(t.Context(), setup.Options{
		Service: "test", IDs: []secret.ID{"TOKEN"}, Logger: quiet, Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	waittest.Until(t, "both are connected", func() error {
		if names := connected(t, s); !strings.Contains(names, "rotator test") || !strings.Contains(names, "service test") {
			return errors.New(names)
		}
		return nil
	})
}

// connected returns the names of the connections of a server.
func connected(t *testing.T, s *server.Server) string {
	t.Helper()
	z, err := s.Connz(nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range z.Conns {
		names = append(names, c.Name)
	}
	return fmt.Sprint(names)
}

func startTLS(t *testing.T, cert tls.Certificate) *server.Server {
	t.Helper()
	clients := x509.NewCertPool()
	clients.AddCert(cert.Leaf)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), Username: "user", Password: "Pass-Word-1",
		TLSVerify: true, TLSTimeout: 60, AuthTimeout: 60,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server did not start")
	}
	return s
}

// writeCertificate writes a certificate that signed itself, and its key.
func writeCertificate(t *testing.T, certFile, keyFile string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
