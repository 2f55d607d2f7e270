package rollout

import (
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// InstanceState says what is known of one process of a service.
type InstanceState string

// The states of an instance. Only InstanceEnded stops blocking by itself.
const (
	// InstanceLive: its presence was renewed within its lease, and its records are
	// understood.
	InstanceLive InstanceState = "live"
	// InstanceEnded: it said itself that it has ended or does not use the secret any
	// more, or its end was witnessed.
	InstanceEnded InstanceState = "ended"
	// InstanceSilent: anything else. It may run any version.
	InstanceSilent InstanceState = "silent"
)

// drift is the part of a fence by which the clock of a process may run slower than
// that of the server.
const drift = 100

// StateOf returns the state of a user at a time of the server's clock. An instance
// without a record has no state: the floor covers it.
func StateOf(u events.User, now time.Time) InstanceState {
	switch {
	case u.Problem != "":
		return InstanceSilent
	case u.Ended():
		return InstanceEnded
	case !u.RenewedAt.IsZero() && now.Before(u.RenewedAt.Add(leaseOf(u))):
		return InstanceLive
	default:
		return InstanceSilent
	}
}

// LeaseEnd returns when a user falls silent unless it renews its presence.
func LeaseEnd(u events.User) time.Time { return u.RenewedAt.Add(leaseOf(u)) }

// keepEnded is how long the records of an incarnation are kept after its end, so
// that people can see it.
const keepEnded = 10 * time.Minute

// Forgettable reports whether the records of a user prove nothing any more: it has
// ended, or its silence has lasted for longer than its fence, so that only a read of
// the store's primary could bring it back into use, and a renewal would find its
// presence missing. A run of a job ends as a fence does, and so does the silence of an
// incarnation whose use has ended: it may have begun another use.
func Forgettable(u events.User, now time.Time, spec secret.Spec) bool {
	if u.Presence.Ended && u.Problem == "" {
		return !now.Before(u.RenewedAt.Add(keepEnded))
	}
	if u.Use.Ended {
		u.Use.Ended, u.Use.PastFence, u.Use.Fence = false, events.PastFenceRefuse, 0
	}
	end, ok := End(u, u.RenewedAt, spec)
	return ok && StateOf(u, now) == InstanceSilent && !now.Before(end.Add(keepEnded))
}

// Floor returns the time before which no version is retired, whichever instances
// have reported: a process that never reported read the version before promotion,
// and uses it for a fence of f at most, on a clock that may be slow.
func Floor(promoted time.Time, f time.Duration) time.Time { return promoted.Add(f + f/drift) }

// longestFences is how many fences of a secret the longest one is that a process may
// claim, and leastLongest the least of that: a client may have read another
// configuration.
const (
	longestFences = 24
	leastLongest  = 24 * time.Hour
)

// LongestFence returns the longest fence that a process may claim, where f is
// configured: 24 times that, and a day at least. A process that claims more is not
// understood: it blocks until it has ended or is forgotten. Otherwise the claim of one
// process would put off every retirement of the secret for as long as it says.
func LongestFence(f time.Duration) time.Duration { return max(longestFences*f, leastLongest) }

// understood returns u, with a problem if it claims a longer fence than it may and has
// not ended.
func (q Question) understood(u events.User) events.User {
	if longest := LongestFence(q.Spec.FencePeriod()); q.overclaims(u) && u.Problem == "" && !u.Ended() {
		u.Problem = fmt.Sprintf("it claims a fence of %s, and %s is the longest that counts: lower the fence of this client, or forget the instance",
			secret.FormatDuration(seconds(u.Use.Fence)), secret.FormatDuration(longest))
	}
	return u
}

// overclaims reports whether u claims a longer fence than it may.
func (q Question) overclaims(u events.User) bool {
	return seconds(u.Use.Fence) > LongestFence(q.Spec.FencePeriod())
}

// FenceEnd returns when a user refuses every version that was current before
// promotion, if it stays silent, and false if it never does: a user that serves on,
// one whose records are not understood, and one that claims more than [LongestFence]. f is the fence that is configured for
// the secret; the user's own counts if it is longer.
func FenceEnd(u events.User, promoted time.Time, f time.Duration) (time.Time, bool) {
	if u.Problem != "" || u.Use.PastFence != events.PastFenceRefuse || seconds(u.Use.Fence) > LongestFence(f) {
		return time.Time{}, false
	}
	return Floor(later(u.RenewedAt, promoted), max(f, seconds(u.Use.Fence))), true
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
