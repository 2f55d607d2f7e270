package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

func waitCommand(path *string) *cobra.Command {
	w := operator.Wait{For: operator.WaitConverged}
	cmd := &cobra.Command{
		Use:   "wait ID...",
		Short: "Wait until the rollout of secrets is where it should be",
		Long: `Waits until every instance runs the current version (converged), or until the
version before it is dead as well (retired). What changes meanwhile is on the standard
error.

Exit codes:
  0  it is there
  1  it is not there in time, or never can be; the message says who is waited for
  2  the command line or the configuration is wrong`,
		Example:           `  rotator wait orders/db-password --for retired --timeout 2h`,
		Args:              cli.AtLeastOne,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if w.For != operator.WaitConverged && w.For != operator.WaitRetired {
				return cli.UsageError{Err: errors.New("--for: use converged or retired")}
			}
			parts, err := operator.Connect(cmd, *path)
			if err != nil {
				return err
			}
			defer parts.Close()
			ids, err := operator.Known(cmd.Context(), parts, args)
			if err != nil {
				return err
			}
			err = w.WaitFor(cmd.Context(), parts.Bus, ids, func(format string, args ...any) {
				fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
			})
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), w.For)
			}
			return err
		},
	}
	cmd.Flags().Var(&w, "for", "what to wait for: converged or retired")
	cmd.Flags().DurationVar(&w.Timeout, "timeout", 10*time.Minute, "how long to wait")
	return cmd
}
