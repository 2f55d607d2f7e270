package rollout

import (
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
	return events.Rotated(source, at, events.Data{
		SecretID: s.ID, Store: s.Store, VersionID: cur.ID, PreviousVersionID: prev.ID,
		Reason: why, NotAfter: s.NotAfter(m, cur), RotationID: cur.Token,
	})
}

// MissedAnnouncement returns the secret.rotated event of a current version that
// is [Unannounced]. A version that a rotation of ours made replaced one that was
// near its end; any other was written by another program.
func MissedAnnouncement(source string, at time.Time, s secret.Spec, m secret.Metadata) events.Event {
	why := events.ReasonExternal
	if prev, _ := m.At(secret.StagePrevious); s.MadeIn(m.Incarnation, prev.ID, m.Current().Token) {
		why = events.ReasonNearExpiry
	}
	e := Announcement(source, at, s, m, why)
	e.Data.Missed = true
	return e
}
