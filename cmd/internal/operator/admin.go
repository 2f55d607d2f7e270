package operator

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// IsCurrent reports whether value is the current one of a secret. It reads the store
// each time, so that a version counts from the moment when it is current, and no
// longer. A secret without a version has no value.
func IsCurrent(ctx context.Context, p *wire.Parts, id secret.ID, value string) (bool, error) {
	at, err := locate(ctx, p, id)
	if err != nil || at.new || at.meta.Current().ID == "" {
		return false, err
	}
	_, current, err := at.store.Get(ctx, at.spec.StorePath(), store.Selector{Version: at.meta.Current().ID, Primary: true})
	if err != nil {
		return false, err
	}
	got, want := sha256.Sum256([]byte(value)), sha256.Sum256(current.Reveal())
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1, nil
}
