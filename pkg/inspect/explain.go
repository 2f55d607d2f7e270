package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Page explains one secret: paragraphs of prose, and what to do.
type Page struct {
	SecretID secret.ID `json:"secret_id"`
	// Owner, Purpose and Contact are what people said of the secret, "" for nothing.
	Owner   string `json:"owner,omitempty"`
	Purpose string `json:"purpose,omitempty"`
	Contact string `json:"contact,omitempty"`
	// Cause is where the current version comes from, Rollout how far it is, Waits who is
	// waited for, Old what becomes of the version before, Next when the next rotation is.
	Cause   string   `json:"cause"`
	Rollout string   `json:"rollout"`
	Waits   []string `json:"waits_for"`
	Old     string   `json:"old_version"`
	Next    string   `json:"next"`
	// Do is what ends what holds it up, as commands where there is one.
	Do []string `json:"do"`
}

// String returns the page as text.
func (p Page) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", p.SecretID)
	for _, n := range []struct{ title, text string }{{"Purpose", p.Purpose}, {"Owner", p.Owner}, {"Contact", p.Contact}} {
		if n.text != "" {
			fmt.Fprintf(&b, "  %-7s  %s\n", n.title, n.text)
		}
	}
	for _, part := range []struct{ title, text string }{{"Cause", p.Cause}, {"Rollout", p.Rollout}} {
		fmt.Fprintf(&b, "\n%s\n  %s\n", part.title, part.text)
	}
	if len(p.Waits) > 0 {
		fmt.Fprintf(&b, "\nIt waits for\n")
		for _, w := range p.Waits {
			fmt.Fprintf(&b, "  - %s\n", w)
		}
	}
	fmt.Fprintf(&b, "\nThe version before\n  %s\n\nNext rotation\n  %s\n\nWhat to do\n", p.Old, p.Next)
	for _, d := range p.Do {
		fmt.Fprintf(&b, "  - %s\n", d)
	}
	return b.String()
}

// Explain returns the page about a secret, given the last announcement of a version and
// what people did to the secret.
func Explain(now time.Time, s Secret, last events.Announcement, acts []events.Act) Page {
	p := Page{SecretID: s.SecretID, Owner: s.Owner, Purpose: s.Purpose, Contact: s.Contact, Waits: []string{}, Cause: cause(now, s, last, acts), Rollout: s.RolloutSentence(now), Old: s.OldSentence(now), Next: next(s)}
	for _, b := range s.waiting() {
		p.Waits = append(p.Waits, Blocked(b))
	}
	p.Do = s.advice()
	return p
}

// waiting returns who is waited for: what blocks the rollout, or what holds the version
// before alive.
func (s Secret) waiting() []events.Blocker {
	if len(s.Blocking) > 0 || s.SafeToRevoke == nil || s.Rollout == events.RolloutRetired {
		return s.Blocking
	}
	return s.SafeToRevoke.Waiting
}

// causes say why a version was made.
var causes = map[events.Reason]string{
	events.ReasonNearExpiry: "the version before came near its end", events.ReasonExpired: "the version before had expired",
	events.ReasonManual: "a person asked for it", events.ReasonEmergency: "it was an emergency: the version before counted as leaked",
	events.ReasonSupplied: "a person supplied its value", events.ReasonExternal: "another program than a rotator wrote it", events.ReasonLambda: "the store had it rotated by a function",
}

func cause(now time.Time, s Secret, last events.Announcement, acts []events.Act) string {
	d := last.Event.Data
	switch {
	case s.VersionID == "" && s.Error != "":
		return "unknown: " + s.Error
	case s.VersionID == "":
		return "there is no version yet: " + s.Message
	case d.VersionID != s.VersionID:
		return fmt.Sprintf("version %s is current in the store %s and was not announced yet", s.VersionID, s.Store)
	}
	out := fmt.Sprintf("version %s is current in the store %s since %s (%s ago)", s.VersionID, s.Store, stamp(last.At), ago(now.Sub(last.At)))
	if text := causes[d.Reason]; text != "" {
		out += ", because " + text
	}
	if d.Reason != events.ReasonManual && d.Reason != events.ReasonSupplied {
		return out
	}
	for _, a := range slices.Backward(acts) {
		if a.VersionID == d.PreviousVersionID && a.At.Before(last.At) || a.Kind == events.ActPut || a.Kind == events.ActRollback {
			return out + "; " + actLine(a)
		}
	}
	return out
}

func next(s Secret) string {
	p := s.planned(time.Now(), true)
	switch {
	case s.Error != "":
		return "unknown: " + s.Error
	case p.Action == ActionNone:
		return fmt.Sprintf("none (%s): %s", s.Reason, s.Message)
	case s.Failure != nil:
		return fmt.Sprintf("%s at %s: the last try failed at %s: %s (%s)", s.Reason, stamp(p.At), s.Failure.Step, s.Failure.Message, s.Failure.Code)
	default:
		return fmt.Sprintf("%s at %s: %s", s.Reason, stamp(p.At), s.Message)
	}
}

// RolloutSentence says where the rollout is, since when, and why it is not further.
func (s Secret) RolloutSentence(now time.Time) string {
	if s.Rollout == "" {
		return "unknown: " + firstOf(s.Error, "there is no version, or the bus was not read")
	}
	out := string(s.Rollout)
	if !s.RolloutSince.IsZero() {
		out += fmt.Sprintf(" since %s (%s)", stamp(s.RolloutSince), ago(now.Sub(s.RolloutSince)))
	}
	out += fmt.Sprintf("; %d of %d run version %s", s.Applied, s.Applied+len(s.Blocking), shortID(s.VersionID))
	if !s.SuspendedUntil.IsZero() {
		out += "; the version before is suspended until " + stamp(s.SuspendedUntil)
	}
	switch n := len(s.Blocking); {
	case s.Rollout == events.RolloutStalled:
		out += fmt.Sprintf("; the deadline of %s has passed", secret.FormatDuration(s.Spec.RolloutDeadline()))
	case n > 0 && s.Rollout == events.RolloutRolling && s.Spec.RolloutDeadline() > 0:
		out += fmt.Sprintf("; it stalls %s after it began", secret.FormatDuration(s.Spec.RolloutDeadline()))
	}
	return out
}

// OldSentence says what becomes of the version before.
func (s Secret) OldSentence(now time.Time) string {
	switch {
	case s.Rollout == events.RolloutRetired:
		return "it is dead: no instance uses or accepts it"
	case s.Previous == "":
		return "there is none that works"
	}
	out := "version " + shortID(s.Previous)
	switch {
	case s.Rollout == events.RolloutDraining:
		out += " dies as soon as no instance accepts it"
	case s.RetireAt.IsZero() && s.SafeToRevoke != nil && now.Before(s.SafeToRevoke.Until):
		out += fmt.Sprintf(" is kept until every instance runs the new one, and until %s at least", stamp(s.SafeToRevoke.Until))
	case s.RetireAt.IsZero():
		out += " is kept until every instance runs the new one"
	default:
		out += fmt.Sprintf(" dies at %s (in %s)", stamp(s.RetireAt), ago(s.RetireAt.Sub(now)))
	}
	if a := s.SafeToRevoke; a != nil {
		out += fmt.Sprintf("; safe to revoke: %s, because %s", a.Answer, Because(*a))
	}
	return out
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func ago(d time.Duration) string { return secret.FormatDuration(max(d, 0).Round(time.Second)) }

// advice says what ends what holds the secret up.
func (s Secret) advice() []string {
	var out []string
	add := func(text string) {
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, b := range s.waiting() {
		add(remedy(s, b))
	}
	switch s.Reason {
	case scheduler.ReasonQuarantined:
		add("mend the target or the policy, then: rotator rotate " + string(s.SecretID))
	case scheduler.ReasonNotFound:
		add("write it in its store, set create: true, or bring a value in: rotator import " + string(s.SecretID))
	case scheduler.ReasonExpired, scheduler.ReasonNoWindow:
		add("check that a worker runs, then: rotator rotate " + string(s.SecretID))
	default:
	}
	if s.Error != "" {
		add("mend what cannot be read: " + s.Error)
	}
	if a := s.SafeToRevoke; a != nil && a.Answer == rollout.AnswerUnknown && strings.Contains(a.Because, "confirm-fleet") {
		add("compare the instances with those that you run, then: rotator confirm-fleet --reason TEXT")
	}
	for _, f := range s.Findings {
		add(f.String())
	}
	if out == nil {
		return []string{"nothing"}
	}
	return out
}

// remedies say what ends what a blocker blocks. %s is the blocker's service.
var remedies = map[events.BlockReason]string{
	events.BlockOldVersion:    "check the connection of %s to NATS and its log, or restart it",
	events.BlockNotUnderstood: "upgrade rotator and notifier to the version of the client of %s, or restart the instance",
	events.BlockNoInstance:    "start an instance of %s or, if the service is gone for good, remove it from 'services' in the configuration",
	events.BlockAccepts:       "upgrade the client of %s, or restart the instance",
	events.BlockUnlisted:      "list %s under services:, or stop it",
	events.BlockFleet:         "check the connection of the fleet %s to the bus, and ROTATOR_FLEET of its instances",
}

// endsByItself reports whether a blocker ends at a known time, and its users are safe
// then: a fence or the run of a job, and not a consumer that counts as moved unproven.
func endsByItself(b events.Blocker) bool {
	return !b.Until.IsZero() && b.Reason != events.BlockUnconfirmed
}

// nothingToDo says when a blocker ends that nothing has to be done about.
func nothingToDo(b events.Blocker) string {
	out := fmt.Sprintf("nothing has to be done: %s ends by itself at %s at the latest", who(b), stamp(b.Until))
	if b.Instance == "" {
		return out
	}
	return fmt.Sprintf("%s; only if its process is gone for certain and you cannot wait: rotator forget %s --reason TEXT", out, Quote(who(b)))
}

// remedy says what ends what one blocker blocks.
func remedy(s Secret, b events.Blocker) string {
	if endsByItself(b) {
		return nothingToDo(b)
	}
	switch b.Reason {
	case events.BlockFailed:
		return fmt.Sprintf("read the log of %s, which cannot load the version, and mend it; to go back: rotator rollback %s --reason TEXT", b.Service, s.SecretID)
	case events.BlockNoSubscriber:
		return "list the users of the secret under services: or consumers:, or set no_subscribers"
	case events.BlockSilent:
		return fmt.Sprintf("restore the connection of %s/%s, or, if its process is gone: rotator forget %[1]s/%[2]s --reason TEXT", b.Service, b.Instance)
	case events.BlockUnconfirmed:
		return fmt.Sprintf("bring %s to the version, then: rotator confirm %s --consumer %[1]s --version %[3]s", b.Service, s.SecretID, s.VersionID)
	case events.BlockInUse:
		return fmt.Sprintf("restart or reload the program at %s, or end its session at the target", cmp.Or(b.Instance, "the address that the target shows"))
	case events.BlockUnknown:
		return "compare the instances with those that you run, then: rotator confirm-fleet --reason TEXT"
	default:
		if text := remedies[b.Reason]; text != "" {
			return fmt.Sprintf(text, b.Service)
		}
		return "see docs/runbook.md: " + string(b.Reason)
	}
}
