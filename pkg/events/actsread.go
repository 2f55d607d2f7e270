package events

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TrustedActs returns what people did to a secret by the records that a trusted key has
// signed, the oldest first.
func (b *Bus) TrustedActs(ctx context.Context, id secret.ID) ([]Act, error) {
	stored, err := b.Acts(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []Act
	for _, text := range stored {
		if a, ok := b.trustedAct(text); ok && a.SecretID == id {
			out = append(out, a)
		}
	}
	return out, nil
}

// BusActs returns what people did to the bus and not to one secret, as [Bus.TrustedActs]
// does.
func (b *Bus) BusActs(ctx context.Context) ([]Act, error) {
	stored, err := b.records(ctx, b.cfg.Names.BusActs())
	var out []Act
	for _, text := range stored {
		if a, ok := b.trustedAct(text); ok && a.SecretID == "" {
			out = append(out, a)
		}
	}
	return out, wrap("read the acts on the bus", err)
}

// trustedAct returns the act that a stored record holds, and false if no trusted key
// has signed it.
func (b *Bus) trustedAct(stored []byte) (a Act, ok bool) {
	s, err := ParseSealed(stored)
	if err != nil {
		return a, false
	}
	key, err := s.Key()
	if err != nil || !b.Trusts(key) || s.Type != SealedAct {
		return a, false
	}
	// Not strict: a later program may have written more.
	return a, json.Unmarshal(s.Body, &a) == nil && slices.Contains(actKinds, a.Kind)
}
