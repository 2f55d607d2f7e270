package vault

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// authorities is a transport that believes the authorities in a file, or in the files of
// a directory, as they are now: they are read again once one has changed, and
// connections made before are not used for further requests. A file that cannot be read
// is being replaced, and changes nothing.
type authorities struct {
	files func() ([]string, error)

	mu   sync.Mutex
	seen map[string]os.FileInfo // of the files that base believes
	base *http.Transport
}

// rereading returns t, or what reads the authorities of e again. A file goes before
// bytes, and bytes before a directory, as in the API of Vault.
func (e *environment) rereading(t *http.Transport) http.RoundTripper {
	switch {
	case e.tls.CACert != "":
		return &authorities{files: func() ([]string, error) { return []string{e.tls.CACert}, nil }, base: t}
	case e.tls.CAPath != "" && len(e.tls.CACertBytes) == 0:
		return &authorities{files: func() ([]string, error) { return filesBelow(e.tls.CAPath) }, base: t}
	}
	return t
}

// filesBelow returns the files in a directory and in those below it.
func filesBelow(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	return files, err
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
	now, err := a.look()
	if err != nil || a.seen != nil && maps.EqualFunc(a.seen, now, isUnchanged) {
		return a.base
	}
	pool, err := readAuthorities(slices.Sorted(maps.Keys(now)))
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

// look returns the files of authorities as they are now.
func (a *authorities) look() (map[string]os.FileInfo, error) {
	files, err := a.files()
	if err != nil {
		return nil, err
	}
	now := make(map[string]os.FileInfo, len(files))
	for _, file := range files {
		if now[file], err = os.Stat(file); err != nil {
			return nil, err
		}
	}
	return now, nil
}

func isUnchanged(before, now os.FileInfo) bool {
	return os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()) && before.Size() == now.Size()
}

func readAuthorities(files []string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", file)
		}
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
