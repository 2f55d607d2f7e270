package rollout

import (
	"cmp"
	"slices"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Blocking returns which instances and services keep version want of a secret
// from having converged, in the order of service and instance, and how many
// instances run it. services are the configured subscribers; an instance that
// reports the secret counts whether or not its service is listed. A subscriber
// without an instance blocks, and so does a secret without a subscriber: silence
// proves nothing (invariant 5).
func Blocking(reports []events.Report, services []string, id secret.ID, want secret.VersionID) (blockers []events.Blocker, applied int) {
	return blocking(reports, services, id, func(u events.Running) (events.Blocker, bool) { return blocker(u, want) })
}

// BlockingStaged returns which instances and services do not hold version want
// yet, neither in use nor staged for verification. Otherwise it counts as
// [Blocking] does.
func BlockingStaged(reports []events.Report, services []string, id secret.ID, want secret.VersionID) []events.Blocker {
	blockers, _ := blocking(reports, services, id, func(u events.Running) (events.Blocker, bool) {
		if u.Status == events.StatusStaged && u.Wanted == want {
			return events.Blocker{}, false
		}
		return blocker(u, want)
	})
	return blockers
}

func blocking(reports []events.Report, services []string, id secret.ID, blocks func(events.Running) (events.Blocker, bool)) (blockers []events.Blocker, free int) {
	seen := make(map[string]bool, len(services))
	for _, r := range reports {
		i := slices.IndexFunc(r.Secrets, func(u events.Running) bool { return u.SecretID == id })
		if i < 0 || r.Problem != "" {
			continue
		}
		seen[r.Service] = true
		if b, blocked := blocks(r.Secrets[i]); blocked {
			b.Service, b.Instance = r.Service, r.Instance
			blockers = append(blockers, b)
		} else {
			free++
		}
	}
	for _, r := range reports {
		if r.Problem != "" && (seen[r.Service] || slices.Contains(services, r.Service)) {
			seen[r.Service] = true
			blockers = append(blockers, events.Blocker{Service: r.Service, Instance: r.Instance, Reason: events.BlockNotUnderstood, Detail: r.Problem})
		}
	}
	return withAbsent(blockers, services, seen), free
}

// withAbsent adds the subscribers of which no instance was seen, and sorts.
func withAbsent(blockers []events.Blocker, services []string, seen map[string]bool) []events.Blocker {
	for _, s := range services {
		if !seen[s] {
			blockers = append(blockers, events.Blocker{Service: s, Reason: events.BlockNoInstance})
		}
	}
	if len(services) == 0 && len(seen) == 0 {
		blockers = append(blockers, events.Blocker{Reason: events.BlockNoSubscriber})
	}
	sortBlockers(blockers)
	return blockers
}

func sortBlockers(list []events.Blocker) {
	slices.SortFunc(list, func(a, b events.Blocker) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Reason, b.Reason),
			cmp.Compare(a.VersionID, b.VersionID), cmp.Compare(a.Detail, b.Detail)) // two incarnations may have one name
	})
}

// blocker returns what keeps an instance from running want, and false if nothing
// does. VersionID alone decides: an instance that runs want and failed to stage
// the version after it still runs want.
func blocker(u events.Running, want secret.VersionID) (events.Blocker, bool) {
	switch {
	case !u.Status.Known():
		return events.Blocker{VersionID: u.VersionID, Reason: events.BlockNotUnderstood, Detail: "unknown status " + string(u.Status)}, true
	case u.VersionID == want:
		return events.Blocker{}, false
	case u.Status == events.StatusFailed && u.Wanted == want:
		return events.Blocker{VersionID: u.VersionID, Reason: events.BlockFailed, Detail: u.Reason}, true
	default:
		return events.Blocker{VersionID: u.VersionID, Reason: events.BlockOldVersion}, true
	}
}
