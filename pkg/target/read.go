package target

import (
	"context"
	"errors"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrGone is wrapped by the error of a read function for a version whose value was
// removed. Any other error says nothing about the value.
var ErrGone = errors.New("the value is gone")

// ReadOld reads a version that is no longer current. gone is true, and there is no value,
// for one whose value was removed.
func ReadOld(ctx context.Context, read func(context.Context, secret.VersionID) (secret.Value, error), v secret.VersionID) (value secret.Value, gone bool, err error) {
	value, err = read(ctx, v)
	if errors.Is(err, ErrGone) {
		return secret.Value{}, true, nil
	}
	return value, false, err
}
