package view

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Status prints a line for each secret, then what holds each one back, whether the
// versions before it are safe to revoke, and what is wrong with tags.
func Status(w io.Writer, all []inspect.Secret, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SECRET\tSTORE\tVERSION\tAGE\tROTATES\tROLLOUT\tRUNNING")
	errs := newFailures()
	for _, s := range all {
		if s.Error != "" && s.VersionID == "" {
			fmt.Fprintf(t, "%s\t%s\t%s\n", name(s), s.Store, errs.of(s.Error))
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\n", name(s), s.Store, ShortID(s.VersionID), since(s.CreatedAt, now),
			cmp.Or(errs.of(s.Error), brief(s)), s.Rollout, s.Applied, s.Applied+len(s.Blocking))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if _, err := io.WriteString(w, errs.String()); err != nil {
		return err
	}
	for _, s := range all {
		if _, err := io.WriteString(w, note(s)+where(s, now)); err != nil {
			return err
		}
		for _, b := range s.Blocking {
			how := "waits for"
			if s.Rollout == events.RolloutRetired {
				how = "is not run by" // and nothing is left to wait for
			}
			if _, err := fmt.Fprintf(w, "  %s %s %s\n", name(s), how, inspect.Blocked(b)); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, safe(s)+suspended(s)+forced(s)); err != nil {
			return err
		}
	}
	return problems(w, all)
}

// brief says in a column of a table when a secret rotates. A message that is too
// long for the column is left to note.
func brief(s inspect.Secret) string {
	const fits = 48
	if len(s.Message) > fits {
		return string(s.Reason)
	}
	return s.Message
}

// note returns the line about a secret for below a table, or nothing.
func note(s inspect.Secret) string {
	switch {
	case s.Error != "":
		return ""
	case s.Reason == scheduler.ReasonRetrying && s.Failure != nil:
		return fmt.Sprintf("  %s is tried again after: %s\n", name(s), s.Failure.Message)
	case brief(s) == s.Message:
		return ""
	default:
		return fmt.Sprintf("  %s: %s\n", name(s), s.Message)
	}
}

// suspended returns the line about a suspension of the versions before, or nothing.
func suspended(s inspect.Secret) string {
	switch {
	case !s.SuspendedUntil.IsZero():
		return fmt.Sprintf("  %s: the version before is suspended until %s\n", name(s), s.SuspendedUntil.UTC().Format(time.RFC3339))
	case s.Resumed != nil:
		return fmt.Sprintf("  %s: the version before was used while it was suspended, and has come back at %s\n", name(s), s.Resumed.At.UTC().Format(time.RFC3339))
	default:
		return ""
	}
}

// forced returns the line about versions that were revoked without proof, or nothing.
func forced(s inspect.Secret) string {
	if s.Forced == nil {
		return ""
	}
	return fmt.Sprintf("  %s: %s\n", name(s), s.Forced)
}

// safe returns the line that says whether the versions before may be revoked, or
// nothing where there are none.
func safe(s inspect.Secret) string {
	a := s.SafeToRevoke
	if a == nil || s.Previous == "" && s.Rollout == events.RolloutRetired {
		return ""
	}
	line := fmt.Sprintf("  %s: safe to revoke: %s, because %s", name(s), a.Answer, inspect.Because(*a))
	var states []string
	for _, state := range []rollout.InstanceState{rollout.InstanceLive, rollout.InstanceSilent, rollout.InstanceEnded} {
		if n := a.Instances[state]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, state))
		}
	}
	if s.Previous != "" && s.Rollout != events.RolloutRetired {
		line += "; the effective wait is " + wait(s)
	}
	if len(states) > 0 {
		line += " (" + strings.Join(states, ", ") + ")"
	}
	return line + "\n"
}

// wait returns the effective wait: grace, lease or floor.
func wait(s inspect.Secret) string {
	if s.WaitSeconds == 0 {
		return "–"
	}
	return secret.FormatDuration(time.Duration(s.WaitSeconds) * time.Second)
}

// problems says what is wrong with the tags of secrets.
func problems(w io.Writer, all []inspect.Secret) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, s := range all {
		for _, p := range s.Findings {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", s.Store, s.Path, p.Code, p)
		}
	}
	n := 0
	for _, s := range all {
		n += len(s.Findings)
	}
	if n == 0 {
		return t.Flush()
	}
	if _, err := fmt.Fprintf(w, "\nProblems: %d (docs/discovery.md, docs/operating.md, docs/runbook.md)\n", n); err != nil {
		return err
	}
	return t.Flush()
}

// name returns what to call a secret in a table: one without an id by its path.
func name(s inspect.Secret) string {
	switch {
	case s.SecretID != "":
		return string(s.SecretID)
	case s.Path != "":
		return "(" + s.Path + ")"
	default:
		return "(the store)"
	}
}

// several names the first of some services.
func several(names []string) string {
	const most = 3
	switch {
	case len(names) == 0:
		return "–"
	case len(names) <= most:
		return strings.Join(names, " ")
	default:
		return fmt.Sprintf("%s +%d", strings.Join(names[:most], " "), len(names)-most)
	}
}

// ShortID returns as much of a version id as a line of text has room for.
func ShortID(v secret.VersionID) string {
	if v == "" {
		return "–"
	}
	return string(v[:min(len(v), 8)])
}

func since(at, now time.Time) string {
	if at.IsZero() {
		return "–"
	}
	return now.Sub(at).Round(time.Second).String()
}
