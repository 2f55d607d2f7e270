package events

import "fmt"

// TrustsItself returns an error that wraps [ErrUntrusted] unless the keys that the
// Bus trusts include its own for orders to workers. Programs that trust the same
// keys reject what it orders.
func (b *Bus) TrustsItself() error {
	if b.cfg.Signer == nil {
		return ErrNoSigner
	}
	v, id := b.cfg.Verifier, keyID(b.cfg.Signer.Public())
	if _, ok := v.key(id); !ok {
		return fmt.Errorf("%w: the own key is not among the %d trusted", ErrUntrusted, len(v.trusted()))
	}
	return v.allowed(id, TypeNearExpiry, false)
}
