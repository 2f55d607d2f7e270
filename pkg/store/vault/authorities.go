package vault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"sync"
)

// authorities is a transport that believes the authorities in a file as it is now: the
// file is read again once it has changed, and connections made before are not used for
// further requests. A file that cannot be read is being replaced, and changes nothing.
type authorities struct {
	file string

	mu   sync.Mutex
	seen os.FileInfo // of the file that base believes
	base *http.Transport
}

// rereading returns t, or what reads the file of authorities of e again.
func (e *environment) rereading(t *http.Transport) http.RoundTripper {
	if e.tls.CACert == "" {
		return t
	}
	return &authorities{file: e.tls.CACert, base: t}
}

// RoundTrip implements [http.RoundTripper].
func (a *authorities) RoundTrip(r *http.Request) (*http.Response, error) {
	return a.current().RoundTrip(r)
}

// CloseIdleConnections is called by [http.Client].
func (a *authorities) CloseIdleConnections() { a.current().CloseIdleConnections() }

func (a *authorities) current() *http.Transport {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, err := os.Stat(a.file)
	if err != nil || a.seen != nil && isUnchanged(a.seen, now) {
		return a.base
	}
	pool, err := readAuthorities(a.file)
	if err != nil {
		return a.base
	}
	next := a.base.Clone()
	next.TLSClientConfig.RootCAs = pool
	next.TLSNextProto, next.ForceAttemptHTTP2 = nil, true // those of base end in its own connections
	a.base.CloseIdleConnections()
	a.base, a.seen = next, now
	return next
}

func isUnchanged(before, now os.FileInfo) bool {
	return os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()) && before.Size() == now.Size()
}

func readAuthorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("it has no certificate")
	}
	return pool, nil
}

// clientCertificate returns what reads the certificate of this client for each
// connection. The last one that could be read stays in use while the files are replaced.
func clientCertificate(cert, key string) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	var mu sync.Mutex
	var last *tls.Certificate
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		now, err := tls.LoadX509KeyPair(cert, key)
		switch {
		case err == nil:
			last = &now
		case last == nil:
			return nil, err
		}
		return last, nil
	}
}
