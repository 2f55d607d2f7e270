package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrAwaiting means that not every instance holds the staged version yet.
var ErrAwaiting = errors.New("instances have not loaded the staged version yet")

// How soon a rotation that waits for its instances looks again: most of them
// load a version within a moment, so the first look comes earlier.
const (
	awaitFirst = time.Second
	awaitEvery = 5 * time.Second
)

func awaitAgain(attempt int) time.Duration {
	if attempt == 0 {
		return awaitFirst
	}
	return awaitEvery
}

// stage announces the pending version, once.
func (x *Run) stage(ctx context.Context) error {
	last, err := x.r.Bus.Last(ctx, events.TypeStaged, x.state.Spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return err
	}
	if last.Event.Data.VersionID != x.state.Pending.ID {
		if err := x.r.Bus.Publish(ctx, x.staged()); err != nil {
			return err
		}
	}
	x.state = x.state.Did(StepStage)
	return nil
}

func (x *Run) staged() events.Event {
	now, p := time.Now(), x.state.Pending
	return events.Event{
		ID:     string(secret.NewToken(x.state.Spec.ID, p.ID, string(events.TypeStaged), 0)),
		Type:   events.TypeStaged,
		Source: x.r.Source, Time: now,
		Data: events.Data{
			SecretID: x.state.Spec.ID, Store: x.state.Spec.Store, VersionID: p.ID,
			PreviousVersionID: x.state.Cause.VersionID, Reason: x.state.Cause.Reason, OccurredAt: now, RotationID: x.state.Token(),
		},
	}
}

// await lets the rotation go on once every live instance holds the staged
// version, or once the rollout's deadline is over, which is an alert: an
// instance that verifies without the new key reloads as soon as it sees it.
func (x *Run) await(ctx context.Context) error {
	spec := x.state.Spec
	reports, err := x.r.Bus.Reports(ctx)
	if err != nil {
		return err
	}
	blocking := rollout.BlockingStaged(reports, spec.Services, spec.ID, x.state.Pending.ID)
	if len(blocking) > 0 {
		deadline := spec.RolloutDeadline()
		late := time.Since(x.state.Pending.CreatedAt)
		if deadline == 0 || late < deadline {
			return events.RetryAfter(fmt.Errorf("%w: %d are missing, first %s", ErrAwaiting, len(blocking), blocking[0]), awaitAgain(x.state.Cause.Attempt))
		}
		x.r.log.LogAttrs(ctx, slog.LevelError, "rollout.staged_deadline", slog.String("secret_id", string(spec.ID)),
			slog.String("version_id", string(x.state.Pending.ID)), slog.Int("blocking", len(blocking)), slog.Duration("deadline", deadline))
		x.r.failures.Add(ctx, 1, failed(StepAwait, events.CodeStagedDeadline, false))
	}
	x.state = x.state.Did(StepAwait)
	return nil
}
