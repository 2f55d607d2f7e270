package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

// pauseCommand returns pause, or resume.
func pauseCommand(path *string, pause bool) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "pause {ID... | --all | --service NAME | --store NAME | --tag KEY=VALUE} --reason TEXT",
		Short: "Have scheduled rotations wait",
		Long: `Has the scheduled rotations of secrets wait until 'rotator resume', also after restarts.
A rotation that has begun goes on. Rotations that a person asks for do not wait: neither
'rotator rotate', with --emergency or without, nor put and rollback. A version that ends
meanwhile is not replaced. Status and plan show who paused a secret, why, and since when.`,
		Example:           `  rotator pause --service orders-api --reason "quarterly close" --ticket CHG-12`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
	}
	if !pause {
		cmd.Use, cmd.Short = "resume {ID... | --all | --service NAME | --store NAME | --tag KEY=VALUE}", "Have scheduled rotations go on"
		cmd.Long = "Ends 'rotator pause'. What has become due meanwhile rotates within five minutes."
		cmd.Example = "  rotator resume --service orders-api --ticket CHG-12"
	}
	pick := pickFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	why := whyFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pick.IDs = args
		err := pick.Validate()
		switch {
		case err != nil:
			return cli.UsageError{Err: err}
		case pause && why.Reason == "":
			return cli.UsageError{Err: errors.New("--reason is required: status shows it to others")}
		}
		parts, err := operator.Connect(cmd, *path)
		if err != nil {
			return err
		}
		defer parts.Close()
		out, err := operator.Pause(cmd.Context(), parts, *pick, pause, *why)
		if err != nil {
			return err
		}
		if asJSON {
			return cli.PrintJSON(cmd.OutOrStdout(), out)
		}
		for _, p := range out {
			state := "not paused"
			if p.Paused {
				state = p.String()
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", p.SecretID, state)
		}
		return nil
	}
	return cmd
}
