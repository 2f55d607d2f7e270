package target

import (
	"context"
	"errors"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrGone marks the error of a read of a version that the store no longer has a value
// of. The function that reads for a target wraps it. Any other error of a read says nothing
// about the value: a target returns it and changes nothing.
var ErrGone = errors.New("the value is gone")

// ReadOld reads a version that is no longer current. It returns gone and the zero Value
// for a version whose value was removed, and the error of any other read that fails.
func ReadOld(ctx context.Context, read func(context.Context, secret.VersionID) (secret.Value, error), v secret.VersionID) (value secret.Value, gone bool, err error) {
	value, err = read(ctx, v)
	if errors.Is(err, ErrGone) {
		return secret.Value{}, true, nil
	}
	return value, false, err
}
