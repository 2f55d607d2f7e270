package settings

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/tradepulse/rotator/pkg/events"
)

// NATS is how the bus is reached.
type NATS struct {
	// Servers of the cluster, as a comma-separated list of nats://, tls://,
	// ws:// or wss:// URLs without credentials in them. Without it the
	// program runs a single node with an embedded server.
	URL string `json:"url,omitzero" jsonschema:"format=nats-url"`
	// First tokens of every subject and the start of every stream name, so
	// that several environments can share a cluster: such as prod or
	// tradepulse.prod.
	Prefix string `json:"prefix,omitzero" jsonschema:"format=subject-prefix"`
	// Where the JetStream API is for a program in an account of its own, which
	// imports its share of it: ROTATOR.API in deployments/nats. Without it
	// $JS.API. An agent may be in such an account, other programs are not.
	APIPrefix string `json:"api_prefix,omitzero" jsonschema:"format=subject-prefix"`
	// How this program proves who it is. One of creds_file, nkey_file, or user
	// and password.
	Credentials Credentials `json:"credentials,omitzero"`
	// Transport security.
	TLS TLS `json:"tls,omitzero"`
}

// Credentials name one way to authenticate with NATS.
type Credentials struct {
	// File with a user JWT and its nkey seed, as nsc writes it.
	CredsFile string `json:"creds_file,omitzero" jsonschema:"format=file"`
	// File with an nkey seed.
	NKeyFile string `json:"nkey_file,omitzero" jsonschema:"format=file"`
	// User name.
	User string `json:"user,omitzero" jsonschema:"minLength=1,maxLength=256"`
	// The user's password.
	Password Ref `json:"password,omitzero"`
}

// TLS names PEM files.
type TLS struct {
	// File with the authorities that may have signed the server's certificate.
	// Without it those of the system.
	CA string `json:"ca,omitzero" jsonschema:"format=file"`
	// File with the certificate of this program, for servers that ask for one.
	Cert string `json:"cert,omitzero" jsonschema:"format=file"`
	// File with the private key of cert.
	Key string `json:"key,omitzero" jsonschema:"format=file"`
}

// Connect returns how to reach NATS. It reads every file and variable once, so that a
// mistake is an error; a connection reads the files again at each login.
func (n NATS) Connect(lookup func(string) (string, bool)) (events.ConnectConfig, error) {
	if err := n.Credentials.Validate(); err != nil {
		return events.ConnectConfig{}, fmt.Errorf("nats.credentials: %w", err)
	}
	c := events.ConnectConfig{
		URL: n.URL, CredsFile: n.Credentials.CredsFile, NKeyFile: n.Credentials.NKeyFile, User: n.Credentials.User,
	}
	if !n.Credentials.Password.IsZero() {
		v, err := n.Credentials.Password.Read(lookup)
		if err != nil {
			return events.ConnectConfig{}, fmt.Errorf("nats.credentials.password: %w", err)
		}
		c.Password, c.ReadPassword = string(v.Reveal()), n.Credentials.Password.rereads(lookup)
	}
	var err error
	if c.TLS, err = n.TLS.Config(); err != nil {
		return events.ConnectConfig{}, fmt.Errorf("nats.tls: %w", err)
	}
	if n.TLS.CA != "" {
		c.Roots = n.TLS.roots
	}
	return c, nil
}

// Validate returns an error unless the credentials are one way to log in, or none.
func (c Credentials) Validate() error {
	ways := 0
	for _, given := range []bool{c.CredsFile != "", c.NKeyFile != "", c.User != "" || !c.Password.IsZero()} {
		if given {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("more than one way to authenticate: keep one of creds_file, nkey_file, or user and password")
	case (c.User == "") != c.Password.IsZero():
		return errors.New("user and password go together: give both, or neither")
	}
	return nil
}

// Validate returns an error when a certificate has no key, or a key no
// certificate.
func (t TLS) Validate() error {
	if (t.Cert == "") != (t.Key == "") {
		return errors.New("cert and key go together: give both, or neither")
	}
	return nil
}

// Config returns what the files say, with TLS 1.3 as the least version; nil when no
// file is named. The certificate is read again for each connection.
func (t TLS) Config() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS13}
	if t.CA != "" {
		var err error
		if out.RootCAs, err = t.roots(); err != nil {
			return nil, err
		}
	}
	if t.Cert != "" {
		if _, err := t.certificate(nil); err != nil {
			return nil, err
		}
		out.GetClientCertificate = t.certificate
	}
	return out, nil
}

// roots returns the authorities as the file has them now.
func (t TLS) roots() (*x509.CertPool, error) {
	b, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("ca: %s holds no certificate", t.CA)
	}
	return pool, nil
}

// certificate returns the certificate of this program as the files have it now.
func (t TLS) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("cert and key: %w", err)
	}
	return &cert, nil
}
