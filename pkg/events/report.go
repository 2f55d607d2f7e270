package events

import (
	"cmp"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Report is what one running process of a service says it runs. It is a lease:
// an instance that stops renewing it is gone when the lease ends.
type Report struct {
	// Service and Instance name the process; both are one subject token.
	Service  string `json:"service"`
	Instance string `json:"instance"`
	// StartedAt is when the process started.
	StartedAt time.Time `json:"started_at"`
	// At is when the report was made.
	At time.Time `json:"at"`
	// Secrets is what it runs, one entry per secret it watches.
	Secrets []Running `json:"secrets"`
	// Problem says why a report that was received is not understood, "" for one
	// that is. Nothing is known then of what the instance runs: it may be any
	// version of any secret of its service.
	Problem string `json:"-"`
}

// ApplyStatus says whether an instance uses the version it was told of. A reader
// may meet values that a later client has added; they never count as applied.
type ApplyStatus string

// The outcome of a reload.
const (
	// StatusApplied: the version is in use.
	StatusApplied ApplyStatus = "applied"
	// StatusFailed: the version could not be taken into use; the one before
	// still is.
	StatusFailed ApplyStatus = "failed"
	// StatusStaged: the version is loaded for verification only.
	StatusStaged ApplyStatus = "staged"
)

func (s ApplyStatus) known() bool {
	return s == StatusApplied || s == StatusFailed || s == StatusStaged
}

// Running is what an instance runs of one secret.
type Running struct {
	SecretID secret.ID `json:"secret_id"`
	// VersionID is the version in use.
	VersionID secret.VersionID `json:"version_id"`
	// Status is StatusApplied while nothing else is wanted; otherwise it says
	// what became of Wanted.
	Status ApplyStatus `json:"status"`
	// Wanted is the version that failed to load or is staged; "" when the
	// instance runs what it should.
	Wanted secret.VersionID `json:"wanted,omitempty"`
	// Reason says why Status is failed, in words that hold no value.
	Reason string `json:"reason,omitempty"`
	// At is when the version in use was taken into use.
	At time.Time `json:"at"`
}

// BlockReason says why a rollout has not converged.
type BlockReason string

// What may keep a rollout from converging.
const (
	// BlockOldVersion: the instance runs another version.
	BlockOldVersion BlockReason = "runs_other_version"
	// BlockFailed: the instance could not load the version.
	BlockFailed BlockReason = "failed"
	// BlockNotUnderstood: the instance is alive, and what it reports is not
	// understood here. Its client may be newer than this program.
	BlockNotUnderstood BlockReason = "report_not_understood"
	// BlockNoInstance: no live instance of a subscribed service reports the
	// secret.
	BlockNoInstance BlockReason = "no_live_instance"
	// BlockNoSubscriber: no service is subscribed and none reports the secret.
	BlockNoSubscriber BlockReason = "no_subscriber"
)

// Blocker is one instance or service that does not run a version.
type Blocker struct {
	Service   string           `json:"service,omitempty"`
	Instance  string           `json:"instance,omitempty"`
	VersionID secret.VersionID `json:"version_id,omitempty"`
	Reason    BlockReason      `json:"reason"`
	Detail    string           `json:"detail,omitempty"`
}

// String returns a line for people, such as "api/7f3 runs_other_version".
func (b Blocker) String() string {
	who := b.Service
	if b.Instance != "" {
		who += "/" + b.Instance
	}
	if who == "" {
		return string(b.Reason)
	}
	return who + " " + string(b.Reason)
}

// Blocking returns who does not run version want of the secret id yet, in
// the order of service and instance, and how many instances do. services are
// the configured subscribers; an instance that reports the secret counts
// whether or not its service is listed. A secret that nobody reports has a
// blocker: silence never proves anything (invariant 5).
func Blocking(reports []Report, services []string, id secret.ID, want secret.VersionID) (blockers []Blocker, applied int) {
	return blocking(reports, services, id, func(s Running) (Blocker, bool) { return s.blocker(want) })
}

// BlockingStaged returns who does not hold version want yet, neither in use nor
// staged for verification. Otherwise it counts as [Blocking] does.
func BlockingStaged(reports []Report, services []string, id secret.ID, want secret.VersionID) []Blocker {
	b, _ := blocking(reports, services, id, func(s Running) (Blocker, bool) {
		if s.Status == StatusStaged && s.Wanted == want {
			return Blocker{}, false
		}
		return s.blocker(want)
	})
	return b
}

func blocking(reports []Report, services []string, id secret.ID, judge func(Running) (Blocker, bool)) (blockers []Blocker, free int) {
	seen := make(map[string]bool, len(services))
	for _, r := range reports {
		i := slices.IndexFunc(r.Secrets, func(s Running) bool { return s.SecretID == id })
		if i < 0 {
			continue
		}
		seen[r.Service] = true
		if b, blocked := judge(r.Secrets[i]); blocked {
			b.Service, b.Instance = r.Service, r.Instance
			blockers = append(blockers, b)
		} else {
			free++
		}
	}
	for _, r := range reports {
		if r.Problem != "" && (seen[r.Service] || slices.Contains(services, r.Service)) {
			seen[r.Service] = true
			blockers = append(blockers, Blocker{Service: r.Service, Instance: r.Instance, Reason: BlockNotUnderstood, Detail: r.Problem})
		}
	}
	return absent(blockers, services, seen), free
}

// absent adds the subscribers that nobody speaks for.
func absent(blockers []Blocker, services []string, seen map[string]bool) []Blocker {
	for _, s := range services {
		if !seen[s] {
			blockers = append(blockers, Blocker{Service: s, Reason: BlockNoInstance})
		}
	}
	if len(services) == 0 && len(seen) == 0 {
		blockers = append(blockers, Blocker{Reason: BlockNoSubscriber})
	}
	slices.SortFunc(blockers, func(a, b Blocker) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance))
	})
	return blockers
}

// blocker returns what keeps s from running want, and false when nothing does.
// VersionID alone decides: an instance that runs want and failed to stage the
// version after it still runs want.
func (s Running) blocker(want secret.VersionID) (Blocker, bool) {
	switch {
	case !s.Status.known():
		return Blocker{VersionID: s.VersionID, Reason: BlockNotUnderstood, Detail: "unknown status " + string(s.Status)}, true
	case s.VersionID == want:
		return Blocker{}, false
	case s.Status == StatusFailed && s.Wanted == want:
		return Blocker{VersionID: s.VersionID, Reason: BlockFailed, Detail: s.Reason}, true
	default:
		return Blocker{VersionID: s.VersionID, Reason: BlockOldVersion}, true
	}
}
