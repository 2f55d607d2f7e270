package rotation

import (
	"context"
	"errors"

	"github.com/tradepulse/rotator/pkg/store"
)

// keepShape returns an error that wraps [secret.ErrShape] if the next value would
// replace more of the current one than a password or key, whichever target or
// program made it. A rotation without a current value keeps nothing.
func (x *run) keepShape(ctx context.Context) error {
	policy := x.state.spec.ValuePolicy()
	if x.shapeKept || x.state.try.From == "" || policy.Whole || policy.Field != "" {
		return nil
	}
	current, err := x.currentValue(ctx)
	if errors.Is(err, store.ErrNoValue) {
		return nil
	}
	if err == nil {
		err = policy.Replaces(current)
	}
	x.shapeKept = err == nil
	return err
}
