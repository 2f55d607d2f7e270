package rotation

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// announceNew announces the version that this rotation made.
func (x *run) announceNew(ctx context.Context) error { return x.announce(ctx, x.state.try.Reason) }

// announceMissing announces the current version where the log lacks it: the
// process that promoted it died, or another program wrote it.
func (x *run) announceMissing(ctx context.Context) error {
	prev, _ := x.state.meta.At(secret.StagePrevious)
	return x.announce(ctx, events.Origin(x.state.spec, prev.ID, x.state.meta.Current().Token))
}

// announce publishes secret.rotated for the current version, directly after the
// announcement that was last when the store was read. If there is a later one,
// the error wraps events.ErrConflict.
func (x *run) announce(ctx context.Context, reason events.Reason) error {
	spec, meta := x.state.spec, x.state.meta
	cur := meta.Current()
	prev, _ := meta.At(secret.StagePrevious)
	e := events.Rotated(x.r.cfg.Source, time.Now(), events.Data{
		SecretID: spec.ID, Store: spec.Store, VersionID: cur.ID, PreviousVersionID: prev.ID,
		Reason: reason, NotAfter: spec.NotAfter(meta, cur), RotationID: cur.Token,
	})
	seq, err := x.r.cfg.Bus.PublishAfter(ctx, e, x.state.log.Seq)
	if err != nil {
		return err
	}
	x.state.log = events.Announcement{Event: e, Seq: seq}
	x.r.log.LogAttrs(ctx, slog.LevelInfo, "secret.rotated", slog.String("secret_id", string(e.Data.SecretID)),
		slog.String("version_id", string(e.Data.VersionID)), slog.String("previous_version_id", string(e.Data.PreviousVersionID)),
		slog.String("reason", string(e.Data.Reason)))
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
	_, err = x.r.cfg.Timers.Arm(ctx, events.NearExpiry(x.r.cfg.Source, now, spec, x.state.meta), at)
	return err
}
