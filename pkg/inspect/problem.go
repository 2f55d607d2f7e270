package inspect

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Problem is one thing that a person has to act on.
type Problem struct {
	// SecretID is "" for what is about a store or the program.
	SecretID secret.ID `json:"secret_id,omitempty"`
	// Subject names what is wrong: the secret, its path, its store or the program.
	Subject string `json:"subject"`
	// Sentence says what is wrong, and Remedy in words what to do; "" where the
	// command says it.
	Sentence string `json:"sentence"`
	Remedy   string `json:"remedy,omitempty"`
	// Command is what to run first, for a shell; "" if no command of rotator helps.
	Command string `json:"command,omitempty"`
	// Since is when it began, zero if that is not known.
	Since time.Time `json:"since,omitzero"`
}

// Problems returns what a person has to act on, the worst first.
func (s Secret) Problems() []Problem {
	var out []Problem
	if s.Error != "" {
		out = append(out, s.unreadable())
	}
	if p, ok := s.unscheduled(); ok {
		out = append(out, p)
	}
	switch {
	case s.Rollout == events.RolloutStalled:
		out = append(out, s.stalled("its rollout has stalled", s.Blocking))
	case s.Resumed != nil:
		out = append(out, s.stalled("an older version was used while it was suspended, and has come back", s.Resumed.Clients.Named()))
	case s.DrainOverdue:
		sessions := slices.DeleteFunc(slices.Clone(s.Blocking), func(b events.Blocker) bool { return b.Reason != events.BlockInUse })
		out = append(out, s.stalled("its rollout does not drain at the target", sessions))
	}
	for _, f := range s.Findings {
		if f.Severity == secret.SeverityError {
			out = append(out, s.problem(f.Message, f.Remedy, "rotator plan "+s.arg()))
		}
	}
	return out
}

// Name returns what to call the secret: its ID, else its path, else its store, else the log.
func (s Secret) Name() string {
	return cmp.Or(string(s.SecretID), s.Path, s.Store, "log")
}

func (s Secret) problem(sentence, remedy, command string) Problem {
	return Problem{SecretID: s.SecretID, Subject: s.Name(), Sentence: sentence, Remedy: remedy, Command: strings.TrimSpace(command)}
}

// arg returns the ID for a command, "" without one.
func (s Secret) arg() string {
	if s.SecretID == "" {
		return ""
	}
	return Quote(string(s.SecretID))
}

func (s Secret) unreadable() Problem {
	if s.Store == "" && s.Path == "" {
		return s.problem("secrets that a configuration listed once cannot be looked for: "+s.Error, "", "rotator status")
	}
	if s.Path == "" {
		return s.problem("the secrets of the store "+s.Store+" cannot be listed: "+s.Error, "", "rotator status")
	}
	return s.problem("it cannot be read: "+s.Error, "", "rotator status "+s.arg())
}

// unscheduled returns the problem that the scheduler leaves to a person.
func (s Secret) unscheduled() (Problem, bool) {
	var p Problem
	switch s.Reason {
	case scheduler.ReasonExpired:
		p = s.problem("its version has expired and is not replaced: "+s.last(), "", "rotator rotate "+s.arg())
		p.Since = s.NotAfter
	case scheduler.ReasonQuarantined:
		p = s.problem("its rotation is held: "+s.last(), "correct the target, then rotate", "rotator rotate "+s.arg())
	case scheduler.ReasonNotFound:
		p = s.problem(s.Message, "", "rotator import "+s.arg())
	case scheduler.ReasonDeleted:
		p = s.problem(s.Message, "restore it in its store, or write a version", "rotator versions "+s.arg())
	default:
		return Problem{}, false
	}
	return p, true
}

// last says why the last try failed.
func (s Secret) last() string {
	if s.Failure == nil {
		return s.Message
	}
	return fmt.Sprintf("the step %s failed: %s", s.Failure.Step, s.Failure.Message)
}

// stalled returns the problem of a rollout that does not move on, with the command for what
// blocks it first. What ends by itself comes last.
func (s Secret) stalled(sentence string, blocking []events.Blocker) Problem {
	p := s.problem(sentence, "", "rotator status "+s.arg())
	if s.Timeline != nil {
		p.Since = s.Timeline.Since
	}
	if len(blocking) == 0 {
		return p
	}
	b := blocking[max(0, slices.IndexFunc(blocking, func(b events.Blocker) bool { return b.Until.IsZero() }))]
	p.Sentence += ": it waits for " + Blocked(b)
	if more := len(blocking) - 1; more > 0 {
		p.Sentence += fmt.Sprintf(", and %d more", more)
	}
	p.Command, p.Remedy = cmp.Or(s.unblock(b), p.Command), remedy(s, b)
	return p
}

// unblock returns the command that ends a blocker, "" where none does or none has to.
func (s Secret) unblock(b events.Blocker) string {
	if endsByItself(b) {
		return ""
	}
	switch b.Reason {
	case events.BlockSilent:
		return fmt.Sprintf("rotator forget %s --reason 'HOW YOU KNOW'", Quote(who(b)))
	case events.BlockUnconfirmed:
		return fmt.Sprintf("rotator confirm %s --consumer %s --version %s", s.arg(), Quote(b.Service), Quote(string(s.VersionID)))
	case events.BlockUnknown:
		return "rotator confirm-fleet --reason 'HOW YOU KNOW'"
	default:
		return ""
	}
}

// who names the instance or the service that blocks.
func who(b events.Blocker) string {
	if b.Instance == "" {
		return b.Service
	}
	return b.Service + "/" + b.Instance
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=-]+$`)

// Quote quotes an argument for a POSIX shell, if it has to be.
func Quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
