package events

import "fmt"

// TrustsItself returns an error that wraps [ErrUntrusted] unless the keys that the
// Bus trusts include its own for orders to workers. Programs that trust the same
// keys reject what it orders.
func (b *Bus) TrustsItself() error {
	if b.cfg.Signer == nil {
		return ErrNoSigner
	}
	if _, ok := b.cfg.Verifier.keys[b.cfg.Signer.id]; !ok {
		return fmt.Errorf("%w: the own key is not among the %d trusted", ErrUntrusted, len(b.cfg.Verifier.keys))
	}
	return b.cfg.Verifier.allowed(b.cfg.Signer.id, TypeNearExpiry, false)
}
