package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

func statusCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [ID...]",
		Short: "Show every secret: its version, when it rotates, and who does not run it yet",
		Long: `Reads the stores and the bus and shows, per secret, the current version, its
age, when it rotates and why, where its rollout is, every instance that does not
run the current version, and whether the versions before it are safe to revoke;
then what is wrong with the tags of secrets. It changes nothing.

Safe to revoke is "yes" when no instance uses or accepts an older version, "no"
while one may, and "unknown" when records of instances were lost. A silent
instance is one that has neither renewed its presence nor said that it has ended:
if you know that its process is gone, have it forgotten with 'rotator forget'.

The exit code is 1 when a secret cannot be read, is past its end, or is not
scheduled because of its tags.`,
		Example: `  rotator status --config docs/examples/single-node.yaml
  rotator status --json | jq '.[] | select(.safe_to_revoke.answer != "yes")'`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := operator.Secrets(cmd, *path, args)
			if err != nil {
				return unknown(err)
			}
			if asJSON {
				err = cli.PrintJSON(cmd.OutOrStdout(), all)
			} else {
				err = printStatus(cmd.OutOrStdout(), all, time.Now())
			}
			return errors.Join(err, unhealthy(all))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}

func planCommand(path *string) *cobra.Command {
	var asJSON bool
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "plan [ID...]",
		Short: "Show what would rotate when, why, and whom it concerns",
		Long: `Decides for every secret what the scheduler would decide now, and shows what
rotates within the given time, with the services and instances that will have to
reload: first those of the configuration, then those that are discovered in the
stores, and what is wrong with the tags of either. WAIT is how long a version
outlives the promotion of its successor at least: the longest of grace period,
lease and floor. It changes nothing.`,
		Example:           "  rotator plan --within 7d --config docs/examples/cluster.yaml",
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := operator.Secrets(cmd, *path, args)
			if err != nil {
				return unknown(err)
			}
			now := time.Now()
			if within != 0 {
				all = slices.DeleteFunc(all, func(s inspect.Secret) bool { return !s.MayRotateBefore(now.Add(within)) })
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), all)
			}
			return printPlan(cmd.OutOrStdout(), all, now)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	cmd.Flags().Var((*cli.Duration)(&within), "within", "only what rotates within this time (default: everything)")
	return cmd
}

// unknown adds to the error of a secret that was not found where to look.
func unknown(err error) error {
	if errors.Is(err, catalog.ErrUnknownSecret) {
		return fmt.Errorf("%w; 'rotator status' lists those that are", err)
	}
	return err
}

func printStatus(w io.Writer, all []inspect.Secret, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SECRET\tSTORE\tVERSION\tAGE\tROTATES\tROLLOUT\tRUNNING")
	for _, s := range all {
		if s.Error != "" {
			fmt.Fprintf(t, "%s\t%s\t%s\n", name(s), s.Store, s.Error)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\n", name(s), s.Store, shortID(s.VersionID), since(s.CreatedAt, now),
			brief(s), s.Rollout, s.Applied, s.Applied+len(s.Blocking))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		if _, err := io.WriteString(w, note(s)); err != nil {
			return err
		}
		for _, b := range s.Blocking {
			how := "is held back by"
			if s.Rollout == events.RolloutRetired {
				how = "is not run by" // and nothing is left to hold back
			}
			if _, err := fmt.Fprintf(w, "  %s %s %s\n", name(s), how, b); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, safe(s)); err != nil {
			return err
		}
	}
	return printProblems(w, all)
}

func printPlan(w io.Writer, all []inspect.Secret, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SECRET\tSTORE\tFROM\tWHEN\tWHY\tSERVICES\tINSTANCES\tWAIT")
	for _, s := range all {
		why := string(s.Reason)
		if b := brief(s); b != why {
			why += ": " + b
		}
		if s.Error != "" {
			why = s.Error
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", name(s), s.Store, from(s), when(s.RotateAt, now), why, several(s.Services), s.Applied, wait(s))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		if _, err := io.WriteString(w, note(s)); err != nil {
			return err
		}
	}
	return printProblems(w, all)
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

// safe returns the line that says whether the versions before may be revoked, or
// nothing where there are none.
func safe(s inspect.Secret) string {
	a := s.SafeToRevoke
	if a == nil || s.Previous == "" && s.Rollout == events.RolloutRetired {
		return ""
	}
	line := fmt.Sprintf("  %s: safe to revoke: %s, because %s", name(s), a.Answer, a.Because)
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

// printProblems says what is wrong with the tags of secrets.
func printProblems(w io.Writer, all []inspect.Secret) error {
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
	if _, err := fmt.Fprintf(w, "\nProblems: %d (docs/discovery.md)\n", n); err != nil {
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

func from(s inspect.Secret) string {
	if s.Discovered {
		return "tags"
	}
	return "config"
}

// when says when something is due.
func when(at, now time.Time) string {
	switch {
	case at.IsZero():
		return "–"
	case !at.After(now):
		return "now"
	default:
		return at.Local().Format("2006-01-02 15:04:05 MST")
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

func shortID(v secret.VersionID) string {
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

// unhealthy returns an error when secrets need attention.
func unhealthy(all []inspect.Secret) error {
	n := 0
	for _, s := range all {
		if s.NeedsAttention() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d secrets need attention", n, len(all))
}
