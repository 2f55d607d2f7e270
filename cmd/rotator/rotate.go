package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/secret"
)

func rotateCommand(path *string) *cobra.Command {
	var wait time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Rotate one secret now",
		Long: `Asks the workers to rotate a secret now, whatever its schedule and its windows
say, and waits until the new version is announced. Asking again before the new
version is current starts no second rotation; asking afterwards does.`,
		Example:           "  rotator rotate TRADEPULSE_AUDIT_SECRET_ID --config docs/examples/tradepulse.yaml",
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := secret.ParseID(args[0])
			if err != nil {
				return cli.UsageError{Err: err}
			}
			parts, err := operator.Connect(cmd, *path)
			if err != nil {
				return err
			}
			defer parts.Close()
			out, err := operator.Rotate(cmd.Context(), parts, id, wait)
			if err != nil {
				return err
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), out)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), out)
			return err
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait for the new version; 0 only asks")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}
