package statuspage

import (
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// moment is a time in words, seen from the snapshot.
type moment struct {
	Known                       bool
	Machine, Relative, Absolute string
}

// when describes a time as it is seen from now. Its words are coarse, so that rows
// change rarely.
func when(at, now time.Time) moment {
	if at.IsZero() {
		return moment{}
	}
	at, today := at.UTC(), now.UTC()
	layout := "15:04 UTC"
	switch {
	case at.Year() != today.Year():
		layout = "2 Jan 2006 15:04 UTC"
	case at.YearDay() != today.YearDay():
		layout = "2 Jan 15:04 UTC"
	}
	m := moment{Known: true, Machine: at.Format(time.RFC3339), Absolute: at.Format(layout)}
	switch d := at.Sub(now); {
	case d.Abs() < time.Minute/2:
		m.Relative = "now"
	case d > 0:
		m.Relative = "in " + about(d)
	default:
		m.Relative = about(-d) + " ago"
	}
	return m
}

// about rounds to the unit that is fit for d.
func about(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return count(int(d.Round(day)/day), "day")
	case d >= 100*time.Minute:
		return count(int(d.Round(time.Hour)/time.Hour), "hour")
	default:
		return count(int(d.Round(time.Minute)/time.Minute), "minute")
	}
}

// count says how many there are of something.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// verdict is an answer as a word and a symbol, never a color alone. Class is one of
// good, bad, unsure and quiet.
type verdict struct{ Class, Symbol, Word, Because string }

// answer says whether what was before the current version of a secret may be revoked.
func answer(s inspect.Secret) verdict {
	safe := s.SafeToRevoke
	switch {
	case s.Error != "":
		return verdict{"unsure", "?", "unknown", "it cannot be read: " + s.Error}
	case safe == nil:
		return verdict{"unsure", "?", "unknown", s.Message}
	case s.Previous == "" && s.Rollout == events.RolloutRetired:
		return verdict{"quiet", "–", "nothing left", "the version before is retired"}
	case safe.Answer == rollout.AnswerYes:
		return verdict{"good", "✓", "yes", safe.Because}
	case safe.Answer == rollout.AnswerNo:
		return verdict{"bad", "✗", "no", inspect.Because(*safe)}
	default:
		return verdict{"unsure", "?", "unknown", safe.Because}
	}
}

// progress says where the rollout of a secret is.
func progress(s inspect.Secret) verdict {
	switch s.Rollout {
	case events.RolloutStalled:
		return verdict{Class: "bad", Symbol: "✗", Word: "stalled"}
	case events.RolloutRolledBack:
		return verdict{Class: "unsure", Symbol: "↩", Word: "rolled back"}
	case events.RolloutConverged, events.RolloutRetired:
		return verdict{Class: "good", Symbol: "✓", Word: string(s.Rollout)}
	default:
		return verdict{Class: "quiet", Symbol: "●", Word: string(s.Rollout)}
	}
}

// blocker says whether an instance is silent, has failed or just does not run the
// version yet.
func blocker(b events.Blocker) verdict {
	switch b.Reason {
	case events.BlockSilent, events.BlockNotUnderstood, events.BlockUnknown, events.BlockFleet:
		return verdict{Class: "unsure", Symbol: "?", Word: string(b.Reason)}
	case events.BlockFailed, events.BlockNoInstance:
		return verdict{Class: "bad", Symbol: "✗", Word: string(b.Reason)}
	default:
		return verdict{Class: "quiet", Symbol: "●", Word: "waiting"}
	}
}

// health says how a part of the program is.
func health(c Check) verdict {
	if c.OK {
		return verdict{Class: "good", Symbol: "✓", Word: "ok"}
	}
	return verdict{Class: "bad", Symbol: "✗", Word: "failed"}
}

// running says how many of the instances that use a secret run its current version.
func running(s inspect.Secret) string {
	if s.SafeToRevoke == nil {
		return "unknown"
	}
	return fmt.Sprintf("%d of %d", s.Applied, s.Applied+len(s.Blocking))
}

// reason says why a secret rotates when it does.
func reason(s inspect.Secret) string {
	switch {
	case s.Reason == scheduler.ReasonScheduled:
		return "as scheduled"
	case s.Failure != nil:
		return s.Message + ": " + s.Failure.Message
	default:
		return s.Message
	}
}

// step is one step of a rollout. State is done, now or ahead.
type step struct {
	Name, State, Symbol string
	At                  time.Time
}

// steps returns the steps of the rollout of a secret.
func steps(s inspect.Secret, now time.Time) []step {
	t, reached := *s.Timeline, 2
	switch s.Rollout {
	case events.RolloutRetired:
		t.RetireAt, reached = t.Since, 4
	case events.RolloutConverged, events.RolloutDraining:
		reached = 3
	default: // what held before holds no more
		t.ConvergedAt, t.RetireAt = time.Time{}, time.Time{}
	}
	if reached == 3 && t.RetireAt.Before(now) {
		t.RetireAt = time.Time{} // it may be retired since then, and is not
	}
	out := []step{{Name: "created", At: s.CreatedAt}, {Name: "announced", At: t.AnnouncedAt}, {Name: "converged", At: t.ConvergedAt}, {Name: "retired", At: t.RetireAt}}
	for i := range out {
		switch {
		case i < reached:
			out[i].State, out[i].Symbol = "done", "✓"
		case i == reached:
			out[i].State, out[i].Symbol = "now", "●"
		default:
			out[i].State, out[i].Symbol = "ahead", "○"
		}
	}
	return out
}

// short returns as much of the ID of a version as a table has room for.
func short(v secret.VersionID) string {
	if v == "" {
		return "none"
	}
	return string(v[:min(len(v), 8)])
}
