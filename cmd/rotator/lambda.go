package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/lambda"
)

func lambdaCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "lambda",
		Short: "Serve as a rotation function in AWS Lambda",
		Long: `Serves the steps of rotations that AWS Secrets Manager drives, events of
EventBridge, and the commands {"action":"rotate"|"plan"|"status"}. The program
does this by itself when the Lambda runtime starts it as bootstrap, without
arguments.

The configuration is the file that --config or ROTATOR_CONFIG names, else
rotator.yaml beside the program, if there is one, and the environment. Secrets
that it does not list are rotated by its defaults. docs/lambda.md has more.`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := lambda.Serve(cmd.Context(), *path)
			if errors.Is(err, lambda.ErrNotLambda) {
				return cli.UsageError{Err: err}
			}
			return err
		},
	}
}
