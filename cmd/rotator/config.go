package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show and describe the configuration",
		Args:  cli.Exactly(0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "validate FILE", Short: "Check a configuration and list every problem with its line", Args: cli.Exactly(1),
			Example: "  rotator config validate docs/examples/single-node.yaml",
			RunE: func(cmd *cobra.Command, args []string) error {
				cfg, err := cli.Load(cmd, args[0])
				if err != nil {
					return err
				}
				found, err := cfg.Discoveries()
				if err != nil {
					return err
				}
				more := ""
				if len(found) > 0 {
					more = fmt.Sprintf(", and those that tags name in %d of them", len(found))
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, %d secrets in %d stores%s\n", args[0], len(cfg.Secrets), len(cfg.Stores), more)
				return err
			},
		},
		&cobra.Command{
			Use: "show FILE", Short: "Print the configuration in force: the file, the environment and the defaults", Args: cli.Exactly(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				cfg, err := config.Load(args[0], os.Environ())
				if err != nil {
					return err
				}
				out, err := config.Render(cfg)
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(out)
				return err
			},
		},
		&cobra.Command{
			Use: "schema", Short: "Print the JSON Schema of the configuration, for editors", Args: cli.Exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := cmd.OutOrStdout().Write(config.Schema())
				return err
			},
		},
	)
	return cmd
}
