package wire

import (
	"crypto/ed25519"
	"errors"
	"os"

	"github.com/tradepulse/rotator/pkg/events"
)

// TrustsRecords returns which keys the configuration trusts to have sealed records: its own
// signing key, if it is there, and those of signing.trusted_keys.
func (o Options) TrustsRecords() (func(ed25519.PublicKey) bool, error) {
	var own []*events.Signer
	ref, generated := o.Config.SigningKey(o.DataDir)
	switch s, err := o.signer(ref, generated); {
	case err == nil:
		own = append(own, s)
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	v, err := events.TrustFiles(o.Config.Signing.TrustedKeys, o.Logger, own...)
	if err != nil {
		return nil, err
	}
	return v.TrustsRecords, nil
}
