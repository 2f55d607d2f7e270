package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
)

func configCommand(path *string) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "config",
		Short: "Check, show and describe the configuration",
	})
	cmd.AddCommand(
		&cobra.Command{
			Use: "validate [FILE]", Short: "Check a configuration and list every problem with its line", Args: fileOrFlag,
			Example: "  rotator config validate docs/examples/single-node.yaml",
			RunE: func(cmd *cobra.Command, args []string) error {
				file := theFile(args, path)
				cfg, err := cli.Load(cmd, file)
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
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, %s in %s%s\n", file, count(len(cfg.Secrets), "secret"), count(len(cfg.Stores), "store"), more)
				return err
			},
		},
		&cobra.Command{
			Use: "show [FILE]", Short: "Print the configuration in force: the file, the environment and the defaults", Args: fileOrFlag,
			RunE: func(cmd *cobra.Command, args []string) error {
				cfg, err := cli.Load(cmd, theFile(args, path))
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

// fileOrFlag takes one argument at most: without one the file is that of --config.
func fileOrFlag(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return cli.Exactly(1)(cmd, args)
	}
	return nil
}

func theFile(args []string, flag *string) string {
	if len(args) > 0 {
		return args[0]
	}
	return *flag
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
