package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// stuckAfter is how old a pending version is at least that counts as stuck. A
	// rotation takes as long as its deadline at most.
	stuckAfter = time.Hour
	// floodLeast is how many secrets that are due in one hour are a flood at least, and
	// floodTimes how many times as many as in an average hour.
	floodLeast, floodTimes = 20, 5
)

// name returns what to call a secret.
func name(s inspect.Secret) string { return cmp.Or(string(s.SecretID), s.Store+":"+s.Path) }

// command returns a command about a secret.
func command(verb string, s inspect.Secret) string {
	if s.SecretID == "" {
		return "rotator list"
	}
	return "rotator " + verb + " " + string(s.SecretID)
}

// unreadable has one finding for all secrets of a store that fail alike.
func unreadable(f Facts) []Finding {
	type kind struct {
		store string
		code  secret.FindingCode
	}
	all := map[kind][]inspect.Secret{}
	for _, s := range f.Secrets {
		if s.Err != nil {
			k := kind{s.Store, cannot("", "", s.Err).Code}
			all[k] = append(all[k], s)
		}
	}
	var out []Finding
	for k, failed := range all {
		first := failed[0]
		found := cannot(name(first), "what is known of it is not complete", first.Err)
		switch {
		case first.SecretID == "" && first.Path == "":
			found.Subject, found.Remedy = "store "+k.store, "rotator list"
		case len(failed) > 1:
			found.Subject, found.Remedy = "store "+k.store, "rotator status"
			found.Message = fmt.Sprintf("what is known of %d secrets is not complete, first of %s: %s", len(failed), name(first), first.Error)
		default:
			found.Remedy = command("explain", first)
		}
		out = append(out, found)
	}
	return out
}

// due is about secrets that are past their end, or not scheduled.
func due(f Facts) []Finding {
	var out []Finding
	for _, s := range f.Secrets {
		if s.Err != nil {
			continue
		}
		switch s.Reason {
		case scheduler.ReasonExpired, scheduler.ReasonNoWindow:
			out = append(out, broken(secret.FindingCode(s.Reason), name(s), s.Message, command("rotate", s)))
		case scheduler.ReasonNotFound, scheduler.ReasonDeleted, scheduler.ReasonInvalid, scheduler.ReasonCollision:
			out = append(out, broken(secret.FindingCode(s.Reason), name(s), s.Message, command("explain", s)))
		default:
		}
	}
	return out
}

// failing is about rotations that failed.
func failing(f Facts) []Finding {
	var out []Finding
	for _, s := range f.Secrets {
		if s.Failure == nil || s.Err != nil {
			continue
		}
		evidence := fmt.Sprintf("its rotation failed at %s: %s (%s)", s.Failure.Step, s.Failure.Message, s.Failure.Code)
		switch {
		case s.Failure.Code == "access_denied":
			out = append(out, broken(CodeStorePermission, name(s), evidence, command("rotate", s)))
		case s.Reason == scheduler.ReasonQuarantined:
			out = append(out, broken(CodeFailing, name(s), evidence+"; it is not tried again by itself", command("rotate", s)))
		default:
			out = append(out, doubtful(CodeFailing, name(s), evidence, command("explain", s)))
		}
	}
	return out
}

func stalled(f Facts) []Finding {
	var out []Finding
	for _, s := range f.Secrets {
		if s.Rollout == events.RolloutStalled {
			out = append(out, broken(CodeStalled, name(s), s.RolloutSentence(f.Now), command("explain", s)))
		}
	}
	return out
}

// drift is about timers, announcements and pending versions that differ from the stores,
// and what the tags and the readers of secrets are.
func drift(f Facts) []Finding {
	var out []Finding
	for _, s := range f.Secrets {
		for _, d := range s.Drift(f.Bus == nil) {
			found := Finding{Finding: d}
			found.Remedy = command("explain", s)
			switch d.Code {
			case inspect.CodeTimerMoved, inspect.CodeNoTimer, inspect.CodeNotAnnounced:
				found.Remedy = "rotator doctor --fix"
				found = found.with(Fix{Kind: FixSweep})
			case inspect.CodePendingForeign:
				found.Message += " " + since(f.Now, s)
				found.Remedy = command("rotate", s) // the worker replaces it after some tries
			default:
			}
			out = append(out, found)
		}
		if found, ok := stuck(f.Now, s); ok {
			out = append(out, found)
		}
	}
	return out
}

// since says how old the pending version of a secret is.
func since(now time.Time, s inspect.Secret) string {
	v, _ := s.Meta.At(secret.StagePending)
	return fmt.Sprintf("(%s ago)", secret.FormatDuration(max(now.Sub(v.CreatedAt), 0).Round(time.Second)))
}

// stuck finds a pending version of a rotation of ours that is given up, or overdue. That
// of a rotation that was given up stays unused: a new try makes another.
func stuck(now time.Time, s inspect.Secret) (Finding, bool) {
	v, ok := s.Meta.At(secret.StagePending)
	if !ok || s.Err != nil || s.Spec.Strategy == secret.StrategyExternal || !s.Spec.MadeIn(s.Meta.Incarnation, s.VersionID, v.Token) {
		return Finding{}, false
	}
	evidence := fmt.Sprintf("version %s is pending %s", v.ID, since(now, s))
	switch {
	case s.Reason == scheduler.ReasonQuarantined:
		return doubtful(CodePendingStuck, name(s), evidence+", and its rotation was given up", "rotator doctor --fix").
			with(Fix{Kind: FixPending, SecretID: s.SecretID, VersionID: v.ID, Token: v.Token}), true
	case now.Sub(v.CreatedAt) > max(stuckAfter, s.Spec.RolloutDeadline()):
		return doubtful(CodePendingStuck, name(s), evidence+", and its rotation has not ended", command("rotate", s)), true
	default:
		return Finding{}, false
	}
}

// flood finds the hour in which the most secrets are due, if those are many times as many
// as in an average hour.
func flood(f Facts) []Finding {
	var at []time.Time
	var average float64
	for _, s := range f.Secrets {
		life := s.Spec.Lifetime(s.Meta)
		if s.Err != nil || s.RotateAt.IsZero() || life <= 0 {
			continue
		}
		at = append(at, s.RotateAt)
		average += min(1, float64(time.Hour)/float64(life))
	}
	slices.SortFunc(at, time.Time.Compare)
	var first time.Time
	most, begin := 0, 0
	for end := range at {
		for at[end].Sub(at[begin]) > time.Hour {
			begin++
		}
		if n := end - begin + 1; n > most {
			most, first = n, at[begin]
		}
	}
	if most < floodLeast || float64(most) < floodTimes*average {
		return nil
	}
	ahead := max(first.Add(time.Hour).Sub(f.Now), time.Hour).Truncate(time.Hour)
	return []Finding{doubtful(CodeFlood, "schedule",
		fmt.Sprintf("%d secrets are due in the hour from %s on, and %.1f in an average hour; give them a jitter, or rotate some of them before", most, first.UTC().Format(time.RFC3339), average),
		"rotator plan --within "+ahead.String())}
}

// owners is about the stores that say who owns a secret.
func owners(f Facts) []Finding {
	var none []secret.ID
	for _, s := range f.Secrets {
		if s.Err == nil && s.SecretID != "" && s.VersionID != "" && f.Features[s.Store].Attributes && s.OwnedBy() == "" {
			none = append(none, s.SecretID)
		}
	}
	if len(none) == 0 {
		return nil
	}
	return []Finding{doubtful(CodeNoOwner, "owner", cli.Count(len(none), "secret")+" without the tag owner: "+named(none), "rotator list")}
}

// subscribers is about the secrets that no service is known to use.
func subscribers(f Facts) []Finding {
	if f.Bus != nil {
		return nil
	}
	used := map[secret.ID]bool{}
	for _, u := range f.Fleet.Users {
		used[u.Use.SecretID] = used[u.Use.SecretID] || !u.Ended()
	}
	var none []secret.ID
	for _, s := range f.Secrets {
		if s.SecretID != "" && !s.Spec.Claimed() && !used[s.SecretID] && s.Spec.Proof.NoSubscribers != secret.NoSubscribersRetire {
			none = append(none, s.SecretID)
		}
	}
	if len(none) == 0 {
		return nil
	}
	return []Finding{doubtful(CodeNoSubscriber, "subscribers",
		fmt.Sprintf("%s without a service or a consumer, whose old versions are kept: %s; list them under services or consumers, or set no_subscribers", cli.Count(len(none), "secret"), named(none)), "rotator list")}
}

// failed returns what was not read because of err, nil for nothing.
func failed(what string, err error) []Unread {
	if err == nil {
		return nil
	}
	return []Unread{{what, err}}
}
