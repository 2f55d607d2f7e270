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
