package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

func targetCommand(path *string) *cobra.Command {
	cmd := cli.Group(&cobra.Command{Use: "target", Short: "Look at the databases and APIs where values have to be valid"})
	cmd.AddCommand(targetCheckCommand(path))
	return cmd
}

func targetCheckCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check NAME",
		Short: "Say what a rotation would do at a target, and what keeps it from that",
		Long: `Logs in to a target with the admin of its configuration, and prints for each secret
that has it what a rotation does, the rights that the admin lacks, and what would
break services: then no value is applied. It prints what to run about that. It
changes nothing, and shows no value.

Exit codes:
  0  every secret can be rotated
  1  one cannot, or the target cannot be reached
  2  the command line or the configuration is wrong`,
		Example:           `  rotator target check pg --config rotator.yaml`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteTargets(path),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := operator.New(cmd, *path)
			if err != nil {
				return err
			}
			all, err := o.CheckTarget(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				err = cli.PrintJSON(cmd.OutOrStdout(), all)
			} else {
				err = operator.PrintTargets(cmd.OutOrStdout(), all)
			}
			return errors.Join(err, operator.NotReady(all))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}
