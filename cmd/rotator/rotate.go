package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

func rotateCommand(path *string) *cobra.Command {
	var b operator.Batch
	var asJSON bool
	var emergency emergencyFlags
	cmd := &cobra.Command{
		Use:   "rotate {ID... | --all | --service NAME | --store NAME | --tag KEY=VALUE}",
		Short: "Rotate secrets now",
		Long: `Asks the workers to rotate secrets now, whatever their schedules and windows say,
and waits: until the new versions are announced, or with --wait converged until every
instance runs them, or with --wait retired until the versions before are dead. Who
asked, when and why is recorded first, in the stream RECORD. Progress is on the
standard error. If a worker refuses, the command says why.

A secret that was rotated under the same --ticket already is left alone, so that a
batch that was interrupted goes on with the same command. Without a ticket, several
secrets get one that the command prints. A secret that a person rotated less than a
minute ago, and that has not converged, is rotated again only with --again. One that
a freeze of the configuration holds is rotated only with --during-freeze, or with
--emergency.

The exit code is 1 when a secret was not rotated, or is not in the state in time.` + emergencyHelp,
		Example: `  rotator rotate TRADEPULSE_AUDIT_SECRET_ID --config docs/examples/tradepulse.yaml
  rotator rotate --service orders --reason "laptop stolen" --ticket INC-42 --wait retired --timeout 2h
  rotator rotate --all --emergency --ticket INC-43 --reason "the backup was public" --report INC-43.txt --yes`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
	}
	pick := pickFlags(cmd)
	cmd.Flags().BoolVar(&b.DuringFreeze, "during-freeze", false, "also what a freeze of the configuration holds")
	cmd.Flags().BoolVar(&b.Again, "again", false, "also what was rotated a moment ago or under the ticket")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object, or an array of them unless one ID is given")
	why, wait := whyFlags(cmd), waitFlags(cmd)
	emergency.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pick.IDs, b.Why, b.Wait = args, *why, *wait
		if err := pick.Validate(); err != nil {
			return cli.UsageError{Err: err}
		}
		if emergency.on {
			return emergency.run(cmd, *path, *pick, *why, wait.Timeout, asJSON)
		}
		return rotate(cmd, *path, *pick, b, asJSON)
	}
	return cmd
}

// pickFlags adds the flags that describe secrets in place of their IDs.
func pickFlags(cmd *cobra.Command) *operator.Pick {
	var k operator.Pick
	cmd.Flags().BoolVar(&k.All, "all", false, "every secret")
	cmd.Flags().StringVar(&k.Service, "service", "", "the secrets of a service")
	cmd.Flags().StringVar(&k.Store, "store", "", "the secrets in a store")
	cmd.Flags().StringArrayVar(&k.Tags, "tag", nil, "the secrets with a tag, as key=value; may be repeated")
	return &k
}

func rotate(cmd *cobra.Command, path string, pick operator.Pick, b operator.Batch, asJSON bool) error {
	parts, err := operator.Connect(cmd, path)
	if err != nil {
		return err
	}
	defer parts.Close()
	ids, err := pick.Secrets(cmd.Context(), parts)
	if len(ids) == 0 {
		return err
	}
	b.Progress = cmd.ErrOrStderr()
	if len(ids) > 1 && b.Why.Ticket == "" {
		b.Why.Ticket = fmt.Sprintf("rotate-%s-%d", time.Now().UTC().Format("20060102T150405"), os.Getpid())
		fmt.Fprintf(b.Progress, "ticket %s: after an interruption, run the same command with --ticket %[1]s\n", b.Why.Ticket)
	}
	out, rerr := b.Rotate(cmd.Context(), parts, ids)
	return errors.Join(err, rerr, printRotated(cmd, out, len(pick.IDs) == 1, asJSON))
}

// printRotated prints what came of each secret.
func printRotated(cmd *cobra.Command, all []operator.Rotated, one, asJSON bool) error {
	switch {
	case one && len(all) == 0: // the error says why
		return nil
	case asJSON && one:
		return cli.PrintJSON(cmd.OutOrStdout(), all[0])
	case asJSON:
		return cli.PrintJSON(cmd.OutOrStdout(), all)
	}
	for _, r := range all {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), r); err != nil {
			return err
		}
	}
	return nil
}

func applyCommand(path *string) *cobra.Command {
	var b operator.Batch
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Do what a saved plan says, now",
		Long: `Creates and rotates now what the plan that 'rotator plan --out' saved lists for its
time, and nothing else. If any of these secrets has another version than the plan
says, or is elsewhere, nothing is done: make a new plan. It waits as 'rotator rotate'
does.`,
		Example: `  rotator plan --within 7d --out week.plan && rotator apply week.plan --ticket CHG-12`,
		Args:    cli.Exactly(1),
	}
	cmd.Flags().BoolVar(&b.DuringFreeze, "during-freeze", false, "also what a freeze of the configuration holds")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	why, wait := whyFlags(cmd), waitFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		plan, err := operator.LoadPlan(args[0])
		if err != nil {
			return err
		}
		parts, err := operator.Connect(cmd, *path)
		if err != nil {
			return err
		}
		defer parts.Close()
		b.Why, b.Wait, b.Progress = *why, *wait, cmd.ErrOrStderr()
		out, err := b.Apply(cmd.Context(), parts, plan)
		if err == nil && len(out) == 0 {
			fmt.Fprintln(b.Progress, "the plan has nothing to do")
		}
		return errors.Join(err, printRotated(cmd, out, false, asJSON))
	}
	return cmd
}
