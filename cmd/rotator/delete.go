package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/secret"
)

func deleteCommand(path *string) *cobra.Command {
	var del operator.Deletion
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "delete ID --yes",
		Short: "Delete a secret with all its versions",
		Long: `Removes a secret, all its versions and their values from its store, and takes its
timers away. Take it out of the configuration first, and load that with 'rotator
reload': a secret that is listed may be made anew by the next sweep. One that no
configuration lists any more is looked for in the stores under its ID.

Without --yes it only says what it would delete. It refuses while an instance uses the
secret, or may use it; --force, with a --reason, deletes it nevertheless. Who did it and
why is recorded before it is done. The record of the secret stays: its receipts, and
who did what. AWS Secrets Manager keeps a deleted secret for 30 days, in which it can
be restored there; other stores do not.`,
		Example: `  rotator delete orders/old-key
  rotator delete orders/old-key --yes --reason "the service is gone" --ticket OPS-9`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
	}
	cmd.Flags().BoolVar(&del.Yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&del.Force, "force", false, "with --yes: delete it although instances use it or the configuration lists it")
	cmd.Flags().StringVar(&del.Store, "store", "", "where a secret is that no configuration lists")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	why := whyFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		del.Why = *why
		return runDelete(cmd, *path, args[0], del, asJSON)
	}
	return cmd
}

func runDelete(cmd *cobra.Command, path, arg string, del operator.Deletion, asJSON bool) error {
	id, err := secret.ParseID(arg)
	switch {
	case err != nil:
		return cli.UsageError{Err: err}
	case del.Force && del.Why.Reason == "":
		return cli.UsageError{Err: errors.New("--reason is required with --force: say why it does not matter who uses the secret")}
	}
	o, err := operator.New(cmd, path)
	if err != nil {
		return err
	}
	out, err := o.Delete(cmd.Context(), id, del)
	switch {
	case err != nil:
		return err
	case out.Done:
		return printResult(cmd.OutOrStdout(), out, asJSON)
	case asJSON:
		err = cli.PrintJSON(cmd.OutOrStdout(), out)
	}
	return errors.Join(err, out.Refusal())
}
