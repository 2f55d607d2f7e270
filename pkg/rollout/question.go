package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// maxLease is the longest lease that counts: a record does not say for ever that
// its process lives.
const maxLease = time.Hour

// Question asks of a fleet whether every version of a secret before its current
// one may be retired. All its times are those of the server that stores the
// records.
type Question struct {
	// Spec is what is configured for the secret.
	Spec secret.Spec
	// VersionID is the current version of the store, read before the fleet.
	VersionID secret.VersionID
	// Pending is the version that was staged to follow, "" for none. It is not older
	// than VersionID, so that an instance may hold it.
	Pending secret.VersionID
	// Unstaged is true when no version before VersionID had a stage any more when the
	// fleet was read. An instance that starts after that reads no such version from
	// the store, and so accepts none.
	Unstaged bool
	// Promoted is when the announcement of VersionID was stored, which is after the
	// promotion.
	Promoted time.Time
	// Confirmed is the last confirmation of each consumer.
	Confirmed map[string]events.Confirmed
	// Foreign says what shows that another system works on the secret, see [Foreign].
	Foreign string
	// Emergency skips the floor and running fences, and names whom that may break.
	Emergency bool
}

// Standing is what a fleet says of a version. Nothing in it depends on the order
// of the users.
type Standing struct {
	// Applied is how many live instances run the version.
	Applied int
	// Blocking are the instances and services that keep it from having converged.
	// Those with a time only have to be waited for, see [events.Blocker.Until].
	Blocking []events.Blocker
	// Accepting are the live instances that run the version and accept another one.
	Accepting []events.Blocker
	// Breaks are the instances that an emergency does not wait for.
	Breaks []events.Blocker
	// Unknown says why nothing can be said of the fleet, "" if it is complete.
	Unknown string
	// Presumed are the instances whose end was presumed, and Doubts what else makes
	// a yes unknown.
	Presumed []events.Blocker
	Doubts   []string
	// Unjoined are the services of which an instance may start without a record:
	// their users serve on, and are not required to join.
	Unjoined []string
	// Floor is when the floor is over, and Lease the longest lease of a user. FloorBy
	// says whose claim the floor is, "" for the fence that is configured.
	Floor   time.Time
	FloorBy string
	Lease   time.Duration
	// Instances counts the users by state.
	Instances map[InstanceState]int
}

// Ask returns what a fleet says.
func (q Question) Ask(f events.Fleet) Standing {
	s := Standing{Instances: make(map[InstanceState]int, 3)}
	seen := make(map[string]bool, len(q.Spec.Services)+1)
	for _, u := range f.Users {
		u = q.understood(u)
		state := StateOf(u, f.At)
		s.Instances[state]++
		if q.judge(&s, u, state, f.At) {
			seen[u.Use.Service] = true
		}
	}
	unconfirmed, presumed := q.consumers(f.At)
	q.wait(&s, unconfirmed)
	if q.Emergency {
		s.Breaks = append(s.Breaks, q.unheardJobs(f)...)
	}
	s.Blocking = q.withAbsent(append(s.Blocking, q.fleets(f)...), seen)
	s.Doubts = q.doubts(presumed, seen)
	for _, list := range [][]events.Blocker{s.Accepting, s.Breaks, s.Presumed} {
		sortBlockers(list)
	}
	s.Unjoined = q.unjoined(f)
	if f.Confirmed.IsZero() || f.Since.After(f.Confirmed) {
		s.Unknown = lost(f)
	}
	base := q.Promoted
	if s.Unknown != "" || f.ConfirmedBy != "" { // users that refuse past their fence were lost too
		base = later(base, f.Since)
	}
	if f.Full {
		s.Unknown = "the stream of uses is full, so new instances are not recorded: rotator doctor names the service with most records"
	}
	if f.FullBy != "" {
		s.Unknown = "the stream of reports of older clients is full, so further instances are not heard of; most of it is of " + f.FullBy + ": upgrade its client, or stop it"
	}
	floor, by := q.floor(f)
	s.Floor, s.FloorBy, s.Lease = base.Add(floor), by, q.lease(f)
	return s
}

// wait notes blockers. An emergency does not wait for those that end by themselves.
func (q Question) wait(s *Standing, list []events.Blocker) {
	for _, b := range list {
		if q.Emergency && !b.Until.IsZero() {
			s.Breaks = append(s.Breaks, b)
		} else {
			s.Blocking = append(s.Blocking, b)
		}
	}
}

// judge notes what one user keeps waiting. It returns true if its service counts as
// heard of: an instance lives, or is listed already.
func (q Question) judge(s *Standing, u events.User, state InstanceState, now time.Time) (seen bool) {
	switch {
	case state == InstanceEnded:
		return false
	case state == InstanceLive:
		q.judgeLive(s, u)
		return true
	case q.clear(u):
		return false
	case q.presumed(u, now):
		s.Presumed = append(s.Presumed, q.named(u, events.Blocker{Reason: events.BlockSilent}))
		return false
	}
	b := events.Blocker{Reason: events.BlockSilent, Detail: "it did not say that it has ended, and serves on: wait for it, or forget it"}
	if u.Problem != "" {
		b = events.Blocker{Reason: events.BlockNotUnderstood, Detail: u.Problem}
	}
	if end, ok := End(u, q.Promoted, q.Spec); ok {
		if !now.Before(end) {
			return false
		}
		b.Until, b.Detail = end, "its fence ends by itself"
		if _, job := q.Spec.Job(u.Use.Service); job {
			b.Detail = "its run ends by itself"
		}
	}
	q.wait(s, []events.Blocker{q.named(u, b)})
	return true
}

func (q Question) judgeLive(s *Standing, u events.User) {
	if b, blocked := blocker(u.Use.Running, q.VersionID); blocked {
		s.Blocking = append(s.Blocking, q.named(u, b))
		return
	}
	s.Applied++
	i := slices.IndexFunc(u.Use.Accepts, q.older)
	switch {
	case u.Use.Accepts == nil:
		s.Accepting = append(s.Accepting, q.named(u, events.Blocker{Reason: events.BlockAccepts, Detail: "it does not say what it accepts: upgrade the client of " + u.Use.Service}))
	case i >= 0:
		s.Accepting = append(s.Accepting, q.named(u, events.Blocker{Reason: events.BlockAccepts, VersionID: u.Use.Accepts[i]}))
	}
}

// older reports whether v is a version that is to be retired.
func (q Question) older(v secret.VersionID) bool {
	return v != q.VersionID && (v != q.Pending || v == "")
}

// clear reports whether the records of a silent user name no version that is to be
// retired, and are not older than the promotion. One that is joining, one that does
// not say what it accepts and one that is not understood may use any; and one that
// is cut off from the bus polls the store, and may have moved to another version
// since that one was promoted in its place.
func (q Question) clear(u events.User) bool {
	return u.Problem == "" && !later(u.RenewedAt, u.UsedAt).Before(q.Promoted) && u.Use.Status.Known() && !q.older(u.Use.VersionID) && u.Use.Accepts != nil &&
		!slices.ContainsFunc(u.Use.Accepts, q.older) && (u.Use.Wanted == "" || !q.older(u.Use.Wanted))
}

// presumed reports whether a silent user counts as ended. Records that are not understood
// do not say when it was heard of last: one that names no instance has no presence. A
// claim of too long a fence is understood that far.
func (q Question) presumed(u events.User, now time.Time) bool {
	after := q.Spec.Proof.Subscribers[u.Use.Service].PresumedEndedAfter
	known := !u.RenewedAt.IsZero() && (u.Problem == "" || q.overclaims(u))
	return after > 0 && known && !now.Before(later(u.RenewedAt, u.UsedAt).Add(after))
}

// named completes a blocker. A service that is not among the subscribers is named
// so: an operator may want to forget it.
func (q Question) named(u events.User, b events.Blocker) events.Blocker {
	b.Service, b.Instance = u.Use.Service, u.Use.Instance
	if b.VersionID == "" {
		b.VersionID = u.Use.VersionID
	}
	if !q.listed(b.Service) && b.Reason != events.BlockAccepts {
		b.Detail = cmp.Or(b.Detail, string(b.Reason))
		b.Reason = events.BlockUnlisted
	}
	return b
}

// listed reports whether a service is among the subscribers. Where none is configured,
// every service that reports is.
func (q Question) listed(service string) bool {
	return len(q.Spec.Services) == 0 || slices.Contains(q.Spec.Services, service)
}

// Missing returns which instances and services do not hold q.Pending yet, neither in
// use nor staged for verification. A silent one holds nothing: it is missing until
// it has ended or its fence has.
func (q Question) Missing(f events.Fleet) []events.Blocker {
	var out []events.Blocker
	seen := make(map[string]bool, len(q.Spec.Services)+1)
	for _, u := range f.Users {
		u = q.understood(u)
		state := StateOf(u, f.At)
		end, fenced := End(u, q.Promoted, q.Spec)
		switch {
		case state == InstanceEnded, state == InstanceSilent && fenced && !f.At.Before(end):
		case state == InstanceSilent:
			seen[u.Use.Service] = true
			out = append(out, q.named(u, events.Blocker{Reason: events.BlockSilent, Until: end}))
		default:
			seen[u.Use.Service] = true
			if !holds(u.Use, q.Pending) {
				b, _ := blocker(u.Use.Running, q.Pending)
				out = append(out, q.named(u, b))
			}
		}
	}
	return q.withAbsent(out, seen)
}

// holds reports whether a process verifies with a version, or more.
func holds(u events.Use, v secret.VersionID) bool {
	return u.VersionID == v || u.Status == events.StatusStaged && u.Wanted == v || slices.Contains(u.Accepts, v)
}

// unjoined returns the services of which an instance may use the secret before it
// is recorded, in order. The longest run of a job bounds that.
func (q Question) unjoined(f events.Fleet) []string {
	var out []string
	for _, u := range f.Users {
		s := u.Use.Service
		if _, job := q.Spec.Job(s); job || u.Ended() || u.Use.PastFence == events.PastFenceRefuse || q.Spec.Proof.Subscribers[s].JoinRequired || slices.Contains(out, s) {
			continue
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// lost returns what may have been lost with an earlier stream. The users that are left say
// nothing of it: another instance of the same service may serve on.
func lost(f events.Fleet) string {
	if f.Confirmed.IsZero() {
		return "nothing says whether users that serve on were lost with an earlier stream of uses: confirm that there are none (rotator confirm-fleet)"
	}
	return fmt.Sprintf("the stream of uses was made at %s: users that serve on may have been lost with the one before, confirm that there are none (rotator confirm-fleet)", clock(f.Since))
}

func leaseOf(u events.User) time.Duration { return min(seconds(u.Presence.Lease), maxLease) }

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
