package reload

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// told is the end that an announcement gave its version. Workers know ends that a
// service does not read: those of tags and of the configuration.
type told struct {
	sighting

	notAfter time.Time // zero for none
}

// or returns what is remembered after an announcement: the newer of the two.
func (k told) or(e Event) told {
	if k.covers(e.Announcement) {
		return k
	}
	return told{sightingOf(e.Announcement), e.NotAfter}
}

// ends returns the earliest known end of a version, of which end was read.
func (t *transition) ends(version secret.VersionID, end time.Time) time.Time {
	if version == t.told.version {
		return earlier(end, t.told.notAfter)
	}
	return end
}

// shorten takes an end that was announced for the version in use after it was read. A
// version that is near this end is read again, like one that comes near its end.
func (t *transition) shorten() {
	end := t.ends(t.Version, t.NotAfter)
	if !t.isStarted() || end.Equal(t.NotAfter) {
		return
	}
	t.NotAfter = end
	t.do(Effect{Kind: Ends, Version: t.Version, NotAfter: end})
	if t.near() {
		t.polled()
	}
}
