package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// Answer is the answer to whether old versions may be revoked.
type Answer string

// The answers. Only AnswerYes is one to act on.
const (
	AnswerYes     Answer = "yes"
	AnswerNo      Answer = "no"
	AnswerUnknown Answer = "unknown"
)

// SafeToRevoke says whether every version before the current one may be revoked,
// as far as the fleet can tell.
type SafeToRevoke struct {
	Answer Answer `json:"answer"`
	// Because says why, in one line. A yes names the condition that it rests on, if
	// there is one.
	Because string `json:"because"`
	// Waiting are the instances and services that are waited for.
	Waiting []events.Blocker `json:"waiting,omitempty"`
	// Until is when all that ends by itself is over: grace, lease, floor and running
	// fences.
	Until time.Time `json:"until,omitzero"`
	// Instances counts the users of the secret by state.
	Instances map[InstanceState]int `json:"instances,omitempty"`
	// UnknownReaders are the identities that read the secret by the log of its store,
	// and report no use of it. See [SafeToRevoke.Among].
	UnknownReaders []Reader `json:"unknown_readers,omitempty"`
}

// Safe answers from a fleet. r is the rollout of q.VersionID as the log has it;
// before it has converged, Until is what it would be if it converged now.
func (q Question) Safe(r Rollout, f events.Fleet) SafeToRevoke {
	s := q.Ask(f)
	out := SafeToRevoke{Waiting: slices.Concat(s.Blocking, s.Accepting), Until: q.until(r, s, f.At), Instances: s.Instances}
	switch v := s.verdict(f.At); {
	case s.Unknown != "":
		out.Answer, out.Because = AnswerUnknown, s.Unknown
	case v.Because != "":
		out.Answer, out.Because = AnswerNo, v.Because
	case f.At.Before(out.Until) && r.State != events.RolloutRetired:
		out.Answer, out.Because = AnswerNo, "grace period and floor end "+clock(out.Until)
		if runs := q.unheardJobs(f); len(runs) > 0 {
			out.Because += ": a run of " + runs[0].Service + " may have read an older version"
		} else if s.FloorBy != "" && out.Until.Equal(s.Floor) {
			out.Because += ": " + s.FloorBy
		}
	case len(s.Presumed) > 0:
		out.Answer, out.Because = AnswerUnknown, fmt.Sprintf("the end of %d silent instances is presumed, first %s", len(s.Presumed), s.Presumed[0])
	case len(s.Doubts) > 0:
		out.Answer, out.Because = AnswerUnknown, strings.Join(s.Doubts, "; ")
	case len(q.conditions(s, f)) > 0:
		out.Answer, out.Because = AnswerYes, "if "+strings.Join(q.conditions(s, f), ", and ")
	default:
		out.Answer, out.Because = AnswerYes, "no instance uses or accepts an older version"
	}
	return out
}

// until returns the effective wait: the latest of grace, lease, floor and the fences
// that run.
func (q Question) until(r Rollout, s Standing, now time.Time) time.Time {
	at := r.RetireAt
	if at.IsZero() {
		at = now.Add(max(q.Spec.GracePeriod(), s.Lease))
	}
	if !q.Emergency {
		at = later(at, s.Floor)
	}
	for _, b := range s.Blocking {
		at = later(at, b.Until)
	}
	return at
}
