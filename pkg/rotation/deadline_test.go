package rotation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// hangingTarget is a target whose server does not answer at one step.
type hangingTarget struct {
	target.ValueOnly

	step string
}

func (h hangingTarget) hang(ctx context.Context, step string) error {
	if step != h.step {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h hangingTarget) Propose(ctx context.Context, c target.Change) (secret.Value, error) {
	if err := h.hang(ctx, "propose"); err != nil {
		return secret.Value{}, err
	}
	return h.ValueOnly.Propose(ctx, c)
}

func (h hangingTarget) Apply(ctx context.Context, _ target.Change) (target.Ref, error) {
	return target.Ref{}, h.hang(ctx, "apply")
}

func (h hangingTarget) Verify(ctx context.Context, _ target.Change) error {
	return h.hang(ctx, "verify")
}

// TestATargetThatHangs: each call of a target has a deadline.
func TestATargetThatHangs(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"propose", "apply", "verify"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := &hangingTarget{}
			x := newRig(t, func(c *rotation.Config) {
				c.TargetTimeout = 50 * time.Millisecond
				c.TargetFor = func(context.Context, secret.Spec) (target.Target, error) { return h, nil }
			})
			h.step = step
			if err := x.rotate(t, x.v1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it fails with %v", err)
			}
		})
	}
}
