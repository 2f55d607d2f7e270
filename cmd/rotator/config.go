package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/secret"
)

func configCommand(path *string) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "config",
		Short: "Check, show and describe the configuration",
	})
	cmd.AddCommand(
		configValidateCommand(path),
		configShowCommand(path),
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

// validated is the output of config validate --json.
type validated struct {
	File string `json:"file"`
	OK   bool   `json:"ok"`
	// Secrets and Stores count what is listed, Discovering the stores whose tags name more.
	Secrets     int                `json:"secrets"`
	Stores      int                `json:"stores"`
	Discovering int                `json:"discovering"`
	Problems    []validatedProblem `json:"problems"`
}

// validatedProblem is a problem or a warning, and where it is in the file.
type validatedProblem struct {
	secret.Finding
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func configValidateCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "validate [FILE]", Short: "Check a configuration and list every problem with its line", Args: fileOrFlag,
		Example: "  rotator config validate docs/examples/single-node.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			file := theFile(args, path)
			cfg, err := cli.Load(cmd, file)
			problems, refused := errors.AsType[config.Problems](err)
			if err != nil && (!refused || !asJSON) {
				return err
			}
			out := validated{File: file, OK: err == nil, Problems: []validatedProblem{}}
			if cfg != nil {
				found, err := cfg.Discoveries()
				if err != nil {
					return err
				}
				assumed := cfg.Assumed(file, os.LookupEnv)
				for _, p := range assumed {
					fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", p)
				}
				problems, out.Secrets, out.Stores, out.Discovering = append(cfg.Warnings(), assumed...), len(cfg.Secrets), len(cfg.Stores), len(found)
			}
			if !asJSON {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), out)
				return err
			}
			for _, p := range problems {
				out.Problems = append(out.Problems, validatedProblem{p.Finding, p.File, p.Line, p.Column})
			}
			return errors.Join(cli.PrintJSON(cmd.OutOrStdout(), out), err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

func (v validated) String() string {
	more := ""
	if v.Discovering > 0 {
		more = fmt.Sprintf(", and those that tags name in %d of them", v.Discovering)
	}
	return fmt.Sprintf("%s: ok, %s in %s%s", v.File, count(v.Secrets, "secret"), count(v.Stores, "store"), more)
}

func configShowCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show [FILE]", Short: "Print the configuration in force: the file, the environment and the defaults", Args: fileOrFlag,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := cli.Load(cmd, theFile(args, path))
			if err != nil {
				return err
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), cfg)
			}
			out, err := config.Render(cfg)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(out)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
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
