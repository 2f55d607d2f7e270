package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func confirmCommand(path *string) *cobra.Command {
	var c events.Confirmed
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "confirm ID --consumer NAME --version VERSION",
		Short: "Say that a consumer without a client uses the current version",
		Long: `A consumer has no client, so nothing reports which version of a secret it uses.
Until it is confirmed to use the current version, and none before it, the
previous version is kept, and 'rotator status' names it with this command.

A person or a pipeline confirms after the consumer was brought to the version.
Who did so and when is written in the stream RECORD. Confirming a version again
changes nothing and succeeds. A version that is not current any more is refused:
bring the consumer to the current one, and confirm that.`,
		Example:           `  rotator confirm ORDERS_DB --consumer erp --version 0f3c9a6e-5b1d-5c0e-9d53-3f0a6f5b8c21`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if c.SecretID, err = secret.ParseID(args[0]); err == nil && c.VersionID == "" {
				err = errors.New("--version is required: the version that the consumer uses now, as 'rotator status --json' has it")
			}
			if err == nil && events.ValidToken(c.Consumer) != nil {
				err = errors.New("--consumer is required: a name that the secret lists under consumers")
			}
			if err != nil {
				return cli.UsageError{Err: err}
			}
			parts, err := operator.Connect(cmd, *path)
			if err != nil {
				return err
			}
			defer parts.Close()
			c.By = operator.User()
			c, done, err := operator.Confirm(cmd.Context(), parts, c)
			switch {
			case err != nil:
				return err
			case asJSON:
				return cli.PrintJSON(cmd.OutOrStdout(), c)
			case done:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s was confirmed to use %s at %s\n", c.SecretID, c.Consumer, c.VersionID, c.At.UTC().Format(time.RFC3339))
			default:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s is confirmed to use %s\n", c.SecretID, c.Consumer, c.VersionID)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&c.Consumer, "consumer", "", "the consumer, as the secret lists it under consumers")
	cmd.Flags().StringVar((*string)(&c.VersionID), "version", "", "the version that it uses now")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}
