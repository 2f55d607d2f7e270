//go:build !race

package notify

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

func TestAnEventThatComesAgainTurnsNothingBack(t *testing.T) {
	t.Parallel()
	tr := bareTracker(t)
	event := func(seq uint64, s events.RolloutState) events.Announcement {
		return events.Announcement{Seq: seq, Event: events.Event{Data: events.Data{
			SecretID: id, VersionID: "v2", PreviousVersionID: "v1", Rollout: &events.Rollout{State: s, StartedAt: t0},
		}}}
	}
	for _, a := range []events.Announcement{event(1, rolling), event(2, converged), event(3, retired), event(1, rolling), event(2, converged)} {
		tr.changed(a)
	}
	if got := tr.secrets[id]; got.rollout.State != retired || got.seq != 3 {
		t.Errorf("it is %s after %d", got.rollout.State, got.seq)
	}
}

func TestAnAnnouncementThatWasHeldUpBringsNoVersionBack(t *testing.T) {
	t.Parallel()
	tr := bareTracker(t)
	held := events.Data{SecretID: id, VersionID: "v1", OccurredAt: t0}
	tr.announced(events.Data{SecretID: id, VersionID: "v2", PreviousVersionID: "v1", OccurredAt: t0.Add(time.Hour)})
	tr.delivered(held)
	if got := tr.secrets[id]; got.next != nil || got.rollout.VersionID != "v2" {
		t.Errorf("it is %s, next is %+v", got.rollout.VersionID, got.next)
	}
}
