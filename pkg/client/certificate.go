package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Certificate serves the TLS certificate that a secret holds: the chain and the
// private key as PEM blocks, in any order. A new version is checked before it is
// used; open connections keep theirs.
type Certificate struct {
	current atomic.Pointer[tls.Certificate]
	next    *tls.Certificate // prepared; hooks are not called concurrently
	stop    func()
}

// NewCertificate returns the certificate of a secret of m. Put its GetCertificate
// or GetClientCertificate into a [tls.Config].
func NewCertificate(ctx context.Context, m *Manager, id secret.ID) (*Certificate, error) {
	c := &Certificate{}
	stop, err := m.SubscribeTwoPhase(ctx, id, steps{c.prepare, c.commit, c.withdraw})
	if err != nil {
		return nil, err
	}
	c.stop = stop
	return c, nil
}

// prepare implements [TwoPhase]. It refuses a key that does not fit the chain, and a
// certificate that is not valid now; a staged one is checked and not served.
func (c *Certificate) prepare(_ context.Context, ch Change) error {
	cert, err := tls.X509KeyPair(ch.Value.Reveal(), ch.Value.Reveal())
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	switch now := time.Now(); {
	case now.Before(cert.Leaf.NotBefore):
		return fmt.Errorf("certificate: it is not valid before %s", cert.Leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(cert.Leaf.NotAfter):
		return fmt.Errorf("certificate: it has expired at %s", cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	c.next = &cert
	return nil
}

// commit implements [TwoPhase].
func (c *Certificate) commit(context.Context, Change) { c.current.Store(c.next) }

// withdraw implements [TwoPhase]. What was prepared is replaced by the next Prepare.
func (*Certificate) withdraw(secret.VersionID) {}

// GetCertificate is for the [tls.Config] of a server. It never fails.
func (c *Certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// GetClientCertificate is for the [tls.Config] of a client. It never fails.
func (c *Certificate) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// Close takes the certificate off its secret; it continues to serve the last version.
func (c *Certificate) Close() { c.stop() }
