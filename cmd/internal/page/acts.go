package page

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/statuspage"
)

// Acts carries out what persons order on the page, as the commands do.
type Acts struct {
	token secret.ID
	parts atomic.Pointer[wire.Parts]
}

// NewActs returns acts for whom the current value of a secret authorizes.
func NewActs(token secret.ID) *Acts { return &Acts{token: token} }

// Connect sets the parts of the program. Nil means that it is not connected any more.
func (a *Acts) Connect(p *wire.Parts) { a.parts.Store(p) }

var errNotConnected = errors.New("the program is not connected yet, or ends")

// Authorize implements [statuspage.Acts].
func (a *Acts) Authorize(ctx context.Context, token string) error {
	p := a.parts.Load()
	if p == nil {
		return errNotConnected
	}
	ok, err := operator.IsCurrent(ctx, p, a.token, token)
	if err == nil && !ok {
		err = statuspage.ErrToken
	}
	return err
}

// Do implements [statuspage.Acts].
func (a *Acts) Do(ctx context.Context, o statuspage.Order) (string, error) {
	p := a.parts.Load()
	if p == nil {
		return "", errNotConnected
	}
	why := operator.Why{Reason: o.Reason, By: o.By}
	switch o.Act {
	case statuspage.ActRotate:
		var said strings.Builder
		batch := operator.Batch{Why: why, Wait: operator.Wait{For: operator.WaitNone}, Progress: &said}
		rotated, err := batch.Rotate(ctx, p, []secret.ID{o.SecretID})
		for _, r := range rotated {
			fmt.Fprintln(&said, r)
		}
		return said.String(), err
	case statuspage.ActPause, statuspage.ActResume:
		paused := o.Act == statuspage.ActPause
		_, err := operator.Pause(ctx, p, operator.Pick{IDs: []string{string(o.SecretID)}}, paused, why)
		if paused {
			return fmt.Sprintf("the scheduled rotations of %s wait until they are resumed", o.SecretID), err
		}
		return fmt.Sprintf("the scheduled rotations of %s go on", o.SecretID), err
	case statuspage.ActForget:
		all, err := operator.ForgetInstance(ctx, p, o.Service, o.Instance, operator.Reason{Text: o.Reason, By: o.By})
		return fmt.Sprintf("%s is forgotten: %s", o.Subject(), operator.Describe(all)), err
	default:
		return "", fmt.Errorf("%q is not an act of this page", o.Act)
	}
}
