package rollout

import (
	"cmp"
	"slices"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func sortBlockers(list []events.Blocker) {
	slices.SortFunc(list, func(a, b events.Blocker) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.VersionID, b.VersionID),
			cmp.Compare(a.Reason, b.Reason), a.Until.Compare(b.Until), cmp.Compare(a.Detail, b.Detail))
	})
}

// blocker returns what keeps an instance from running want, and false if nothing
// does. VersionID alone decides: an instance that runs want and failed to stage
// the version after it still runs want.
func blocker(u events.Running, want secret.VersionID) (events.Blocker, bool) {
	switch {
	case u.VersionID == "" && u.Status == "": // it is joining, and may take any version
		return events.Blocker{Reason: events.BlockOldVersion}, true
	case !u.Status.Known():
		return events.Blocker{VersionID: u.VersionID, Reason: events.BlockNotUnderstood, Detail: "unknown status " + string(u.Status)}, true
	case u.Status == events.StatusFailed && u.Wanted == want: // also of one that runs it: not all of its hooks do
		return events.Blocker{VersionID: u.VersionID, Reason: events.BlockFailed, Detail: u.Reason}, true
	case u.VersionID == want:
		return events.Blocker{}, false
	default:
		return events.Blocker{VersionID: u.VersionID, Reason: events.BlockOldVersion}, true
	}
}
