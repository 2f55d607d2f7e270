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

// soakVerdict is what a run has shown.
type soakVerdict struct {
	checks, accepted, straddling int
	refused                      map[string]int // :: reason → checks
	wrong                        []string
}

// judge looks at every check, now that it is known what became of each version.
func (s *soak) judge() soakVerdict {
	v := soakVerdict{refused: map[string]int{}}
	for _, spec := range s.specs {
		all, _ := s.book.all(spec.ID)
		at := make(map[secret.VersionID]int, len(all))
		for i, version := range all {
			at[version.id] = i
		}
		for _, c := range s.checks {
			if c.secret == spec.ID {
				v.one(spec, all, at[c.version], c)
			}
		}
	}
	return v
}

func (v *soakVerdict) one(spec secret.Spec, all []soakVersion, i int, c soakCheck) {
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
			v.wrong = append(v.wrong, fmt.Sprintf("accepted %s after its retirement: %s", c.began.Sub(retired), c))
		}
	case !retired.IsZero() && !c.ended.Before(retired):
		v.refused["retired"]++
	default:
		why, ok := whyRefused(spec, all, i, c)
		v.refused[why]++
		if !ok {
			v.wrong = append(v.wrong, fmt.Sprintf("refused a version that is not retired, %s: %s; faults %v", why, c, c.host.lately(c)))
		}
	}
}

// whyRefused returns why a version was refused that was not retired, and whether that
// is as it should be.
func whyRefused(spec secret.Spec, all []soakVersion, i int, c soakCheck) (why string, ok bool) {
	faulted := c.host.faulted(c.began.Add(-soakRecovery), c.ended)
	drains := first(all, i, drainsAt)
	switch {
	case c.answer.Use == soakFenced:
		return "past fence", faulted
	case c.host.kind == soakAgent:
		return "one value in a file", !all[i].ran(c.began) || i+1 < len(all) && all[i+1].asked.Before(c.ended)
	case c.answer.Use != "rejected" && c.answer.Use != "retired":
		return "error", false
	case !drains.IsZero() && drains.Before(c.ended):
		return "draining", true
	case i+2 < len(all) && all[i+2].asked.Before(c.ended):
		return "two versions ago", true
	case i+1 < len(all) && all[i+1].asked.Before(c.ended):
		// What is accepted besides the version in use cannot be confirmed by the store,
		// and once its fence is over nothing brings it back.
		return "previous, after a fault", c.host.faulted(all[i+1].asked.Add(-soakRecovery), c.ended)
	case spec.Rollout != secret.RolloutPrepare && !all[i].ran(c.began):
		return "not taken yet", true
	default:
		return "after a fault", faulted
	}
}

// ran reports whether every instance ran the version at a time.
func (v soakVersion) ran(at time.Time) bool {
	return v.asked.IsZero() || !v.applied.IsZero() && v.applied.Before(at)
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
func (v soakVerdict) String() string {
	var refused []string
	for _, why := range slices.Sorted(maps.Keys(v.refused)) {
		refused = append(refused, fmt.Sprintf("%d %s", v.refused[why], why))
	}
	return fmt.Sprintf("%d checks, %d accepted (%d straddling), refused: %s", v.checks, v.accepted, v.straddling, strings.Join(refused, ", "))
}
