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

// ErrAwaiting means that not every instance has loaded the staged version yet.
var ErrAwaiting = errors.New("instances have not loaded the staged version yet")

// How soon a rotation that waits for its instances reads their records again.
// Most instances load a version within a moment, so the second try comes early.
const (
	awaitFirst = time.Second
	awaitEvery = 5 * time.Second
)

// awaitAgain returns how long the rotation waits after the given attempt.
func awaitAgain(attempt int) time.Duration {
	if attempt == 0 {
		return awaitFirst
	}
	return awaitEvery
}

// stage announces the pending version for verification, once.
func (x *run) stage(ctx context.Context) error {
	last, err := x.r.cfg.Bus.Last(ctx, events.TypeStaged, x.state.spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return err
	}
	if last.Event.Data.VersionID == x.state.pending.ID {
		return nil
	}
	return x.r.cfg.Bus.Publish(ctx, x.staged())
}

// staged returns the announcement of the pending version. Its ID depends on the
// version, so that two workers announce the same event.
func (x *run) staged() events.Event {
	now, p, try := time.Now(), x.state.pending, x.state.try
	return events.Event{
		ID:     string(secret.NewToken(x.state.spec.ID, p.ID, string(events.TypeStaged), 0)),
		Type:   events.TypeStaged,
		Source: x.r.cfg.Source, Time: now,
		Data: events.Data{
			SecretID: x.state.spec.ID, Store: x.state.spec.Store, VersionID: p.ID,
			PreviousVersionID: try.From, Reason: try.Reason, OccurredAt: now, RotationID: x.state.token(),
		},
	}
}

// await succeeds once every live instance has loaded the staged version. It also
// succeeds after the rollout's deadline, with an alert: an instance that verifies
// without the new key reloads as soon as it sees it.
func (x *run) await(ctx context.Context) error {
	spec, p := x.state.spec, x.state.pending
	fleet, err := x.r.cfg.Bus.Fleet(ctx, spec.ID)
	if err != nil {
		return err
	}
	blocking := rollout.Question{Spec: spec, VersionID: x.state.try.From, Pending: p.ID, Promoted: p.CreatedAt}.Missing(fleet)
	if len(blocking) == 0 {
		return nil
	}
	deadline := spec.RolloutDeadline()
	if deadline == 0 || time.Since(p.CreatedAt) < deadline {
		err := fmt.Errorf("%w: %d are missing, first %s", ErrAwaiting, len(blocking), blocking[0])
		return events.RetryAfter(err, awaitAgain(x.state.try.Retry.Attempt))
	}
	x.r.log.LogAttrs(ctx, slog.LevelError, "rollout.staged_deadline", slog.String("secret_id", string(spec.ID)),
		slog.String("version_id", string(p.ID)), slog.Int("blocking", len(blocking)), slog.Duration("deadline", deadline))
	x.r.failures.Add(ctx, 1, failureAttributes(stepAwait, events.CodeStagedDeadline, false))
	return nil
}
