package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// End returns when a silent user has stopped using every version that was current
// before promotion, and false if only an act ends it: its fence has ended, or the
// longest run of its job.
func End(u events.User, promoted time.Time, spec secret.Spec) (time.Time, bool) {
	if end, ok := FenceEnd(u, promoted, spec.FencePeriod()); ok {
		return end, true
	}
	maxRun, job := spec.Job(u.Use.Service)
	if !job || u.Problem != "" {
		return time.Time{}, false
	}
	return Floor(later(u.RenewedAt, promoted), maxRun), true
}

// jobs returns the jobs among the subscribers and the users, and the longest run of
// any. A run that was never heard of may have read the old version right before the
// promotion, and the record of a run may have been replaced by that of the next.
func (q Question) jobs(f events.Fleet) (names []string, longest time.Duration) {
	add := func(s string) {
		if maxRun, job := q.Spec.Job(s); job && !slices.Contains(names, s) {
			names, longest = append(names, s), max(longest, maxRun)
		}
	}
	for _, s := range q.Spec.Services {
		add(s)
	}
	for _, u := range f.Users {
		add(u.Use.Service)
	}
	slices.Sort(names)
	return names, longest
}

// unheardJobs returns the jobs of which a run may use an older version.
func (q Question) unheardJobs(f events.Fleet) []events.Blocker {
	var out []events.Blocker
	names, _ := q.jobs(f)
	for _, s := range names {
		maxRun, _ := q.Spec.Job(s)
		if end := Floor(q.Promoted, maxRun); f.At.Before(end) {
			out = append(out, events.Blocker{Service: s, Reason: events.BlockSilent, Detail: "a run of it may have read an older version", Until: end})
		}
	}
	return out
}

// consumers returns the consumers that were not confirmed to use the version, and in
// presumed those that count as moved because their time is over.
func (q Question) consumers(now time.Time) (blocking []events.Blocker, presumed []string) {
	for _, c := range q.Spec.Proof.Consumers {
		if q.Confirmed[c.Name].VersionID == q.VersionID {
			continue
		}
		b := events.Blocker{Service: c.Name, Reason: events.BlockUnconfirmed, Detail: q.howToConfirm(c.Name)}
		if c.After > 0 {
			b.Until = q.Promoted.Add(c.After)
			if !now.Before(b.Until) {
				presumed = append(presumed, fmt.Sprintf("the consumer %s was not confirmed, and counts as moved %s after the promotion", c.Name, secret.FormatDuration(c.After)))
				continue
			}
		}
		blocking = append(blocking, b)
	}
	return blocking, presumed
}

func (q Question) howToConfirm(consumer string) string {
	return fmt.Sprintf("rotator confirm %s --consumer %s --version %s", q.Spec.ID, consumer, q.VersionID)
}

// fleets returns the declared fleets of which no live instance uses the secret. An
// instance says itself which fleet it is in, so that one of a service that is not listed
// speaks for none.
func (q Question) fleets(f events.Fleet) []events.Blocker {
	var out []events.Blocker
	for _, name := range q.Spec.Proof.Fleets {
		var heard time.Time
		live := false
		for _, u := range f.Users {
			if u.Presence.Fleet == name && q.listed(u.Use.Service) {
				live = live || StateOf(u, f.At) == InstanceLive
				heard = later(heard, u.RenewedAt)
			}
		}
		switch b := (events.Blocker{Service: name, Reason: events.BlockFleet, Detail: "it was never heard from"}); {
		case live:
		case heard.IsZero():
			out = append(out, b)
		default:
			b.Detail = "it was not heard from since " + clock(heard)
			out = append(out, b)
		}
	}
	return out
}

// withAbsent adds the subscribers of which no instance was seen. A job need not have
// one.
func (q Question) withAbsent(blockers []events.Blocker, seen map[string]bool) []events.Blocker {
	for _, s := range q.Spec.Services {
		if _, job := q.Spec.Job(s); !job && !seen[s] {
			blockers = append(blockers, events.Blocker{Service: s, Reason: events.BlockNoInstance})
		}
	}
	if q.unclaimed(seen) && q.Spec.Proof.NoSubscribers != secret.NoSubscribersRetire {
		blockers = append(blockers, events.Blocker{Reason: events.BlockNoSubscriber})
	}
	sortBlockers(blockers)
	return blockers
}

// unclaimed reports whether no user of the secret is listed, and none was seen.
func (q Question) unclaimed(seen map[string]bool) bool { return !q.Spec.Claimed() && len(seen) == 0 }

// doubts returns why a yes is unknown although nothing blocks: time alone says so, no user
// is listed, or another system works on the secret.
func (q Question) doubts(presumed []string, seen map[string]bool) []string {
	switch {
	case q.Spec.Claimed():
	case len(seen) > 0: // any service may have written what was seen
		presumed = append(presumed, "no user of the secret is listed, and those that report it may not be all")
	case q.Spec.Proof.NoSubscribers == secret.NoSubscribersRetire:
		presumed = append(presumed, "no user of the secret is known, and no_subscribers is "+string(secret.NoSubscribersRetire))
	}
	if q.Foreign != "" {
		presumed = append(presumed, q.Foreign)
	}
	if q.Spec.Proof.TargetUnknown {
		presumed = append(presumed, "the target cannot tell who uses an older version, so the proof is that of the instances alone")
	}
	return presumed
}

// conditions returns what an answer of yes rests on.
func (q Question) conditions(s Standing, f events.Fleet) []string {
	var out []string
	if len(s.Unjoined) > 0 {
		out = append(out, "no instance of "+strings.Join(s.Unjoined, ", ")+" started while the bus could not be reached: join: required rules that out")
	}
	names, longest := q.jobs(f)
	if len(names) > 0 {
		out = append(out, "no run of "+strings.Join(names, ", ")+" takes longer than "+secret.FormatDuration(longest))
	}
	return out
}

// Foreign returns what in the log says that another system works on a secret: a
// writer that is none of ours made its current version, or a key that is not trusted
// signed its last announcement or its timer. "" means that nothing does.
//
// announced is the last announcement of the secret. The versions of an external
// rotation, and the first version of a secret, are made by others as a rule.
func Foreign(spec secret.Spec, announced events.Data, untrusted bool) string {
	switch {
	case untrusted:
		return "another scheduler works on the secret: a key that is not trusted signed events about it"
	case announced.Reason == events.ReasonExternal && spec.Strategy != secret.StrategyExternal && announced.PreviousVersionID != "":
		return fmt.Sprintf("another program wrote version %s, and may use the versions before", announced.VersionID)
	default:
		return ""
	}
}

// quiet reports whether a blocker never pages: it ends by itself, or waits for what
// people do in their own time.
func quiet(b events.Blocker) bool {
	return !b.Until.IsZero() || slices.Contains([]events.BlockReason{events.BlockUnconfirmed, events.BlockNoSubscriber}, b.Reason)
}

// Wait returns the least time between the promotion of a version and the retirement of
// the one before, as far as a fleet tells: grace, lease and floor.
func (q Question) Wait(f events.Fleet) time.Duration {
	floor, _ := q.floor(f)
	wait := max(q.Spec.GracePeriod(), q.lease(f), floor)
	for _, c := range q.Spec.Proof.Consumers {
		wait = max(wait, c.After)
	}
	return wait
}

// claimCounts reports whether what a user claims counts for processes that were not heard
// of. One that has ended claims nothing any more, and a service that is not listed puts no
// retirement off.
func (q Question) claimCounts(u events.User) bool { return !u.Ended() && q.listed(u.Use.Service) }

// lease returns the longest lease of a user.
func (q Question) lease(f events.Fleet) (lease time.Duration) {
	for _, u := range f.Users {
		if q.claimCounts(u) {
			lease = max(lease, leaseOf(u))
		}
	}
	return lease
}

// floor returns how long after its promotion nothing before a version is retired: the
// longest fence of a user, the longest run of a job. by says whose claim that is, "" for
// the fence that is configured.
func (q Question) floor(f events.Fleet) (floor time.Duration, by string) {
	floor = q.Spec.FencePeriod()
	for _, u := range f.Users {
		claim := min(seconds(u.Use.Fence), LongestFence(q.Spec.FencePeriod()))
		if q.claimCounts(u) && (claim > floor || claim == floor && by != "" && nameOf(u) < by) {
			floor, by = claim, nameOf(u)
		}
	}
	if by != "" {
		by += " claims a fence of " + secret.FormatDuration(floor)
	}
	if names, longest := q.jobs(f); longest > floor {
		floor, by = longest, "a run of "+strings.Join(names, " or ")+" takes up to "+secret.FormatDuration(longest)
	}
	return floor + floor/drift, by
}

func nameOf(u events.User) string { return u.Use.Service + "/" + u.Use.Instance }
