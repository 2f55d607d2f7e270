package rotation

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// announceNew announces the version that this rotation made.
func (x *run) announceNew(ctx context.Context) error {
	return x.announce(ctx, rollout.Announcement(x.r.cfg.Source, time.Now(), x.state.spec, x.state.meta, x.state.try.Reason))
}

// announceMissing announces the current version where the log lacks it.
func (x *run) announceMissing(ctx context.Context) error {
	e := rollout.MissedAnnouncement(x.r.cfg.Source, time.Now(), x.state.spec, x.state.meta)
	x.r.judge(ctx, x.state.spec, &e)
	return x.announce(ctx, e)
}

// announce publishes e directly after the announcement that was last when the
// store was read. If there is a later one, the error wraps events.ErrConflict.
func (x *run) announce(ctx context.Context, e events.Event) error {
	seq, err := x.r.cfg.Bus.PublishAfter(ctx, e, x.state.log.Seq)
	if err != nil {
		return err
	}
	x.state.log = events.Announcement{Event: e, Seq: seq}
	x.r.log.LogAttrs(ctx, slog.LevelInfo, "secret.rotated", slog.String("secret_id", string(e.Data.SecretID)),
		slog.String("version_id", string(e.Data.VersionID)), slog.String("previous_version_id", string(e.Data.PreviousVersionID)),
		slog.String("reason", string(e.Data.Reason)))
	x.r.blame(ctx, e.Data)
	return nil
}

// arm sets the timer of the rotation after this one, where there are timers. It
// replaces the timer of this rotation, also that of a later try.
func (x *run) arm(ctx context.Context) error {
	spec, now := x.state.spec, time.Now()
	if x.r.cfg.Timers == nil || spec.Disabled {
		return nil
	}
	at, err := spec.DueAt(x.state.meta, now)
	if err != nil && !errors.Is(err, secret.ErrNoWindow) {
		return err
	}
	if at.IsZero() {
		return nil
	}
	return x.schedule(ctx, now, at)
}

// schedule sets the timer of a scheduled rotation away from the current version. This
// run may be a late redelivery: a rotation that was asked for and waits in the timer
// for its next try stays there.
func (x *run) schedule(ctx context.Context, now, at time.Time) error {
	_, err := x.r.cfg.Timers.Arm(ctx, events.NearExpiry(x.r.cfg.Source, now, x.state.spec, x.state.meta), at)
	if errors.Is(err, events.ErrOutranked) {
		return nil
	}
	return err
}
