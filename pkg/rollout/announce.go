package rollout

import (
	"cmp"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Unannounced reports whether the log lacks the current version of a secret: the
// process that promoted it died, another program wrote it, or the log was lost.
// last is the last announcement of the secret, zero for none.
func Unannounced(m secret.Metadata, last events.Data) bool {
	cur := m.Current().ID
	return cur != "" && cur != last.VersionID
}

// Announcement returns the secret.rotated event of the current version.
func Announcement(source string, at time.Time, s secret.Spec, m secret.Metadata, why events.Reason) events.Event {
	cur := m.Current()
	prev, _ := m.At(secret.StagePrevious)
	path := s.StorePath()
	if path == string(s.ID) {
		path = ""
	}
	return events.Rotated(source, at, events.Data{
		SecretID: s.ID, Store: s.Store, Path: path, VersionID: cur.ID, PreviousVersionID: prev.ID,
		Reason: why, NotAfter: s.NotAfter(m, cur), RotationID: cur.Token,
	})
}

// MissedAnnouncement returns the secret.rotated event of a current version that
// is [Unannounced]. A version that a rotation of ours made replaced one that was
// near its end; any other was written by another program.
//
// A retirement that began before the log was lost has taken the stage of the version
// before away. That one is named all the same, or the new rollout would retire nothing.
func MissedAnnouncement(source string, at time.Time, s secret.Spec, m secret.Metadata) events.Event {
	why := events.ReasonExternal
	staged, _ := m.At(secret.StagePrevious)
	prev := cmp.Or(staged.ID, unstaged(m))
	if made := func(from secret.VersionID) bool { return s.MadeIn(m.Incarnation, from, m.Current().Token) }; made(prev) || made(staged.ID) {
		why = events.ReasonNearExpiry
	}
	e := Announcement(source, at, s, m, why)
	e.Data.Missed, e.Data.PreviousVersionID = true, prev
	return e
}

// unstaged returns the newest version before the current one that has a value and no
// stage and was not kept on purpose, "" for none.
func unstaged(m secret.Metadata) secret.VersionID {
	var out secret.Version
	for _, v := range m.Versions {
		if v.Stage == secret.StageRetired && !v.Empty && !v.Kept && !v.CreatedAt.After(m.Current().CreatedAt) && !v.CreatedAt.Before(out.CreatedAt) {
			out = v
		}
	}
	return out.ID
}
