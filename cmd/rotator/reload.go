package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

func reloadCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have what runs load its changed configuration",
		Long: `Asks the programs on the bus of the configuration to load their files again, which
SIGHUP does for one of them, and shows what each has taken over, by the names of secrets
and settings. They are found on the bus: a single node at node.listen, the rotators and
notifiers of a cluster at nats.url. Each reads its own file.

Secrets, policies, services and defaults are taken over. All else, such as addresses,
stores and the data directory, needs a restart, and the output says what. A file that is
wrong changes nothing. A secret that the file lists no longer is not rotated by schedule
any more; its versions stay in the store, its rollout is followed to the end, and status
shows it until 'rotator delete' has deleted it.

The exit code is 1 when a program has not loaded its file.`,
		Example: `  rotator config validate docs/examples/single-node.yaml
  rotator reload --config docs/examples/single-node.yaml`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := operator.Reload(cmd, *path)
			if err != nil {
				return err
			}
			failed := 0
			for _, a := range all {
				if a.Error != "" {
					failed++
				}
				if !asJSON {
					fmt.Fprintln(cmd.OutOrStdout(), a)
				}
			}
			if asJSON {
				if err := cli.PrintJSON(cmd.OutOrStdout(), all); err != nil {
					return err
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d programs have not loaded their file", failed, len(all))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects, one for each program")
	return cmd
}
