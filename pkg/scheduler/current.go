package scheduler

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// maxAsked bounds how many secrets of a store a collection of the metrics asks the bus
// about, and askTimeout for how long it asks. The others count as the sweep left them.
const (
	maxAsked   = 100
	askTimeout = time.Second
)

// watched is what a sweep decided for a secret for which that may change before the next
// sweep.
type watched struct {
	id      secret.ID
	version secret.VersionID
	reason  Reason
	end     time.Time // of the version, zero for none
}

// passing reports whether a reason is over once the secret is rotated.
func passing(r Reason) bool {
	switch r {
	case ReasonMissing, ReasonNearExpiry, ReasonExpired, ReasonRetrying, ReasonRunning:
		return true
	default:
		return false
	}
}

// expires reports whether a version that has a reason is expired once it ends.
func expires(r Reason) bool {
	switch r {
	case ReasonScheduled, ReasonNearExpiry, ReasonWaitingForWindow, ReasonNoWindow:
		return true
	default:
		return false
	}
}

// count counts a secret.
func (r *Result) count(id secret.ID, version secret.VersionID, reason Reason, end time.Time) {
	r.Secrets[reason]++
	switch {
	case passing(reason):
		r.passing = append(r.passing, watched{id, version, reason, end})
	case expires(reason) && !end.IsZero():
		r.ending = append(r.ending, watched{id, version, reason, end})
	}
}

// sort puts what ends first in front.
func (r *Result) sort() {
	slices.SortFunc(r.ending, func(a, b watched) int { return a.end.Compare(b.end) })
}

// open returns the secrets for which something else may hold by now.
func (r *Result) open(now time.Time) []watched {
	n, _ := slices.BinarySearchFunc(r.ending, now, func(w watched, now time.Time) int {
		if w.end.After(now) {
			return 1
		}
		return -1
	})
	all := slices.Concat(r.passing, r.ending[:n])
	return all[:min(len(all), maxAsked)]
}

// current returns how many secrets there are by what holds for them now: as the sweep
// left them, except for versions that were announced or have ended since.
func (s *Scheduler) current(ctx context.Context, t *tally) map[Reason]int {
	now := time.Now()
	open := t.result.open(now)
	if len(open) == 0 {
		return t.result.Secrets
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out := maps.Clone(t.result.Secrets)
	for _, w := range open {
		last, err := s.cfg.Bus.Last(ctx, events.TypeRotated, w.id)
		if err != nil {
			break
		}
		out[w.reason]--
		out[w.became(now, last.Event.Data, last.At.After(t.at))]++
	}
	return out
}

// became returns what holds for a secret now. d is its last announcement, and later is
// whether that came after the sweep.
func (w watched) became(now time.Time, d events.Data, later bool) Reason {
	reason, end := w.reason, w.end
	if later && d.VersionID != w.version {
		reason, end = ReasonScheduled, d.NotAfter
	}
	if expires(reason) && !end.IsZero() && !now.Before(end) {
		return ReasonExpired
	}
	return reason
}
