package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/secret"
)

const importHelp = `Reads a value that is in use already from the standard input, and writes it as the
first version of a secret. It replaces no version. A value that breaks the policy is
taken, and the command says how it does: it is replaced at the next rotation.

Of a secret with a target the value is tried first, by a login on each endpoint. One that
the target refuses, or that cannot be tried, is not written.

With --dry-run nothing is written: the command tries the value, and prints what the first
rotation would do, with a placeholder for each value and each hash.

Exit codes:
  0  the value is the first version; with --dry-run: it is taken, and can be rotated
  1  the target does not take the value, or the first rotation would be refused
  2  the command line or the configuration is wrong`

func importCommand(path *string) *cobra.Command {
	var notAfter string
	var dry, asJSON bool
	cmd := &cobra.Command{
		Use: "import ID", Short: "Bring an existing value in as the first version", Long: importHelp, Args: cli.Exactly(1), ValidArgsFunction: cli.CompleteIDs(path, 1),
		Example: "  cat old-password | rotator import orders/db-password --reason \"moved from the wiki\"\n  rotator import orders/db --dry-run <login.json",
	}
	cmd.Flags().StringVar(&notAfter, "not-after", "", "the end of the version's life, as 2027-01-31T12:00:00Z")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "write nothing: try the value, and print what the first rotation would do")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --dry-run: print an object")
	why := whyFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := secret.ParseID(args[0])
		if err != nil {
			return cli.UsageError{Err: err}
		}
		if asJSON && !dry {
			return cli.UsageError{Err: errors.New("--json goes with --dry-run")}
		}
		return bringIn(cmd, *path, id, notAfter, bringing{dry, asJSON, *why})
	}
	return cmd
}

// bringing is how a value is brought in.
type bringing struct {
	dry, json bool
	why       operator.Why
}

func bringIn(cmd *cobra.Command, path string, id secret.ID, notAfter string, how bringing) error {
	o, err := operator.New(cmd, path)
	if err != nil {
		return err
	}
	parts, err := o.Parts(cmd.Context())
	if err != nil {
		return err
	}
	defer parts.Close()
	value, end, err := supplied(cmd, notAfter)
	if err != nil {
		return err
	}
	a, err := o.Adopt(cmd.Context(), parts, id, value, how.dry)
	if err != nil {
		return err
	}
	if how.dry {
		write := func() error { return a.Print(cmd.OutOrStdout()) }
		if how.json {
			write = func() error { return cli.PrintJSON(cmd.OutOrStdout(), a) }
		}
		return errors.Join(write(), a.Ready())
	}
	v, broken, err := operator.Import(cmd.Context(), parts, id, value, end, how.why)
	if err != nil {
		return err
	}
	if broken != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: the value breaks the policy of %s: %v\n", id, broken)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: version %s is current\n", id, v.ID)
	return err
}
