package events

// TrustsItself returns an error that wraps [ErrUntrusted] unless the keys that the
// Bus trusts include its own for orders to workers. Programs that trust the same
// keys reject what it orders.
func (b *Bus) TrustsItself() error {
	if b.cfg.Signer == nil {
		return ErrNoSigner
	}
	return b.cfg.Verifier.allowed(b.cfg.Signer.id, TypeNearExpiry, false)
}
