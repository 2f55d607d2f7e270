package inspect

import (
	"context"
	"errors"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// announced returns what the bus alone says of a secret: the version that was
// announced last is taken for the current one.
func (v *View) announced(ctx context.Context, e catalog.Entry) Secret {
	last, err := v.bus.Last(ctx, events.TypeRotated, e.Spec.ID)
	if err == nil && last.Seq == 0 {
		s := show(e)
		s.Message = "no version has been announced yet"
		return s
	}
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		s := show(e)
		s.Error = err.Error()
		return s
	}
	rolled, err := v.bus.Last(ctx, events.TypeRollout, e.Spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		s := show(e)
		s.Error = err.Error()
		return s
	}
	return v.Secret(ctx, e, asAnnounced(e.Spec, last, rolled.Event.Data), nil)
}

// asAnnounced returns the metadata that a store would have if nothing had happened
// since the last announcement and the last event about a rollout.
func asAnnounced(spec secret.Spec, last events.Announcement, rolled events.Data) secret.Metadata {
	d := last.Event.Data
	m := secret.Metadata{Path: spec.StorePath(), Versions: []secret.Version{{ID: d.VersionID, Stage: secret.StageCurrent, CreatedAt: last.At, NotAfter: d.NotAfter}}}
	ended := rolled.VersionID == d.VersionID && rolled.Rollout != nil && rolled.Rollout.State == events.RolloutRetired
	if d.PreviousVersionID != "" && !ended {
		m.Versions = append(m.Versions, secret.Version{ID: d.PreviousVersionID, Stage: secret.StagePrevious})
	}
	return m
}
