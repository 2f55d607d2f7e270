//go:build !race

package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// soakCheck is one check that an instance has answered.
type soakCheck struct {
	host         *soakHost
	instance     string // as it names itself on the bus
	secret       secret.ID
	version      secret.VersionID
	began, ended time.Time
	answer       soakAnswer
}

// String says what was checked where. It holds no token.
func (c soakCheck) String() string {
	return fmt.Sprintf("%s said %q of %s version %s at %s to %s", c.host, c.answer.Use, c.secret, c.version,
		c.began.Format(time.RFC3339Nano), c.ended.Format(time.RFC3339Nano))
}

// soakRecovery is how long after a fault an instance may refuse what it could not
// confirm: a renewal is sent every third of a lease, a read of the store that is under
// way ends after its timeout, and the next use reads again.
const soakRecovery = soakLease + soakFence + fenceReadTimeout

// fenceReadTimeout bounds the read of the store that a use past the fence waits for.
const fenceReadTimeout = 5 * time.Second

// soakGap is the least time between two renewals on record that may let a fence end. A
// fence counts from before a renewal is sent until the next one is acknowledged. Where
// that is long, one of three is: the way to the bus, which puts off this renewal; the
// time between the two; or the way back, which puts off the one after.
const soakGap = soakFence / 3

// soakVerdict is what a run has shown.
type soakVerdict struct {
	checks, accepted, straddling int
	refused                      map[string]int // :: reason → checks
	wrong                        []soakWrong
}

// soakWrong is one kind of check that should have gone otherwise: the first of them.
type soakWrong struct {
	what  string
	check soakCheck
	times int
}

func (v *soakVerdict) blame(what string, c soakCheck) {
	i := slices.IndexFunc(v.wrong, func(w soakWrong) bool {
		return w.what == what && w.check.instance == c.instance && w.check.host == c.host && w.check.version == c.version && w.check.secret == c.secret
	})
	if i < 0 {
		i = len(v.wrong)
		v.wrong = append(v.wrong, soakWrong{what: what, check: c})
	}
	v.wrong[i].times++
}

// String names what was wrong.
func (w soakWrong) String() string {
	return fmt.Sprintf("%s, %d times, first: %s; faults before it: %v", w.what, w.times, w.check, w.check.host.lately(w.check))
}

// judge looks at every check, now that it is known what became of each version.
func (s *soak) judge() *soakVerdict {
	v := &soakVerdict{refused: map[string]int{}}
	for _, spec := range s.specs {
		all, _ := s.book.all(spec.ID)
		at := make(map[secret.VersionID]int, len(all))
		for i, version := range all {
			at[version.id] = i
		}
		for _, c := range s.checks {
			if c.secret == spec.ID {
				s.judgeOne(v, spec, all, at[c.version], c)
			}
		}
	}
	return v
}

func (s *soak) judgeOne(v *soakVerdict, spec secret.Spec, all []soakVersion, i int, c soakCheck) {
	v.checks++
	retired := first(all, i, retiresAt)
	switch {
	case c.answer.accepted():
		v.accepted++
		switch {
		case retired.IsZero() || c.ended.Before(retired):
		case c.began.Before(retired):
			v.straddling++
		default:
			v.blame("accepted a version that was retired at "+retired.Format(time.RFC3339Nano), c)
		}
	case !retired.IsZero() && !c.ended.Before(retired):
		v.refused["retired"]++
	default:
		why, ok := s.whyRefused(spec, all, i, c)
		v.refused[why]++
		if !ok {
			v.blame("refused a version that is not retired: "+why, c)
		}
	}
}

// whyRefused returns why a version was refused that was not retired, and whether that
// is as it should be.
func (s *soak) whyRefused(spec secret.Spec, all []soakVersion, i int, c soakCheck) (why string, ok bool) {
	drains, lately := first(all, i, drainsAt), c.began.Add(-soakRecovery)
	switch {
	case c.answer.Use == soakFenced:
		return "past fence", s.late(c, lately)
	case c.host.kind == soakAgent:
		return "other value in file", !all[i].ran(c.began) || i+1 < len(all) && all[i+1].asked.Before(c.ended)
	case c.answer.Use != "rejected" && c.answer.Use != "retired":
		return "error", false
	case !drains.IsZero() && drains.Before(c.ended):
		return "draining", true
	case i+2 < len(all) && all[i+2].asked.Before(c.ended):
		return "two versions ago", true
	case i+1 < len(all) && all[i+1].asked.Before(c.ended) && !all[i].ran(c.began):
		return "passed over", true // an instance may have taken the next one into use instead
	case i+1 < len(all) && all[i+1].asked.Before(c.ended):
		// What is accepted besides the version in use cannot be confirmed by the store,
		// and once its fence is over nothing brings it back.
		return "previous past fence", s.late(c, all[i+1].asked.Add(-soakRecovery))
	case !all[i].ran(c.began) && (spec.Rollout != secret.RolloutPrepare || all[i].unprepared(spec)):
		return "not taken yet", true
	case !all[i].ran(c.began) && s.late(c, all[i].asked):
		return "prepared past fence", true // like the previous one, until the process reads that it is current
	default:
		return "after a fault", c.host.faulted(lately, c.ended) || s.late(c, lately)
	}
}

// late reports whether the renewals of an instance had a gap between a time and the
// end of a check: it was stopped or cut off, or the machine is busy.
func (s *soak) late(c soakCheck, since time.Time) bool {
	times := s.renewals[c.instance]
	if len(times) == 0 {
		return true
	}
	for i, at := range append(times[1:], c.ended) {
		if at.After(since) && times[i].Before(c.ended) && at.Sub(times[i]) > soakGap {
			return true
		}
	}
	return false
}

// ran reports whether every instance ran the version at a time.
func (v soakVersion) ran(at time.Time) bool {
	return v.asked.IsZero() || !v.applied.IsZero() && v.applied.Before(at)
}

// unprepared reports whether the rotation did not wait any longer for an instance that
// had not loaded the version, which is loud.
func (v soakVersion) unprepared(spec secret.Spec) bool {
	return v.rotated.Sub(v.asked) >= spec.RolloutDeadline()
}

// faulted reports whether a fault of the instance overlaps a time.
func (h *soakHost) faulted(from, to time.Time) bool {
	return slices.ContainsFunc(h.faults, func(s soakSpan) bool { return s.from.Before(to) && s.to.After(from) })
}

// lately returns the last fault before a check and those during it.
func (h *soakHost) lately(c soakCheck) []string {
	var out []string
	for _, s := range h.faults {
		if s.from.Before(c.ended) {
			out = append(out, fmt.Sprintf("%s %s to %s", s.what, s.from.Format(time.RFC3339Nano), s.to.Format(time.RFC3339Nano)))
		}
	}
	return out[max(0, len(out)-2):]
}

// String is one line of counts.
func (v *soakVerdict) String() string {
	var refused []string
	for _, why := range slices.Sorted(maps.Keys(v.refused)) {
		refused = append(refused, fmt.Sprintf("%d %s", v.refused[why], why))
	}
	return fmt.Sprintf("%d checks, %d accepted (%d straddling), refused: %s", v.checks, v.accepted, v.straddling, strings.Join(refused, ", "))
}
