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
	var asJSON, all bool
	var service, store string
	var emergency emergencyFlags
	var why *operator.Why
	cmd := &cobra.Command{
		Use:   "rotate ID...",
		Short: "Rotate one secret now",
		Long: `Asks the workers to rotate a secret now, whatever its schedule and its windows
say, and waits until the new version is announced. Asking twice for the same
version rotates once.` + emergencyHelp,
		Example: `  rotator rotate TRADEPULSE_AUDIT_SECRET_ID --config docs/examples/tradepulse.yaml
  rotator rotate --all --emergency --ticket INC-4711 --reason "the backup was public" --report INC-4711.txt --yes`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if emergency.on {
				s, err := operator.SelectorOf(args, all, service, store)
				if err != nil {
					return err
				}
				return emergency.run(cmd, *path, s, *why, wait, asJSON)
			}
			if err := cli.Exactly(1)(cmd, args); err != nil {
				return err
			}
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
	cmd.Flags().BoolVar(&all, "all", false, "with --emergency: every secret")
	cmd.Flags().StringVar(&service, "service", "", "with --emergency: the secrets of this service")
	cmd.Flags().StringVar(&store, "store", "", "with --emergency: the secrets in this store")
	why = whyFlags(cmd)
	emergency.add(cmd)
	return cmd
}
