package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

func eventsCommand(path *string) *cobra.Command {
	var types []string
	var q events.LogQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "events [ID...]",
		Short: "Print the log, one line for each event",
		Long: `Prints what happened to every secret, or to those that are named, the oldest first, as
far back as the log goes: the last 64 events of each type for each secret, unless
configured otherwise. With --follow it waits for more until it is interrupted.`,
		Example: `  rotator events --follow --type rollout
  rotator events orders/db-password --json | jq .data.rollout`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.Types, err = operator.ParseTypes(types); err != nil {
				return cli.UsageError{Err: err}
			}
			parts, err := operator.Connect(cmd, *path)
			if err != nil {
				return err
			}
			defer parts.Close()
			if q.IDs, err = operator.Known(cmd.Context(), parts, args); err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetEscapeHTML(false)
			return parts.Bus.ReadLog(cmd.Context(), q, func(a events.Announcement) error {
				e := inspect.NewLogEntry(a)
				if asJSON {
					return enc.Encode(e)
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), e)
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&q.Follow, "follow", "f", false, "wait for more")
	cmd.Flags().StringSliceVar(&types, "type", nil, "only these types, such as rotated or rollout")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object on each line")
	return cmd
}

func historyCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history ID",
		Short: "Show what happened to a secret: versions, rollouts, receipts and acts, in order",
		Long: `Puts what the store, the log and the record know of a secret in order, the oldest
first: when each version was written, how its rollout went, what a retirement was
decided on, and who did what by hand, and why. It reads no value.`,
		Example:           `  rotator history orders/db-password`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	cmd.RunE = onSecret(path, func(cmd *cobra.Command, parts *wire.Parts, id secret.ID) error {
		all, err := operator.Past(cmd.Context(), parts, id)
		if asJSON && all != nil {
			return errors.Join(err, cli.PrintJSON(cmd.OutOrStdout(), all))
		}
		for _, one := range all {
			if _, werr := fmt.Fprintln(cmd.OutOrStdout(), one); werr != nil {
				return werr
			}
		}
		return err
	})
	return cmd
}

func explainCommand(path *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "Say on one page where a secret is, why, and what to do",
		Long: `Says in prose what caused the current version, how far its rollout is, who runs it,
what the rollout waits for, when the version before dies, when the next rotation is,
and which command ends what holds it up.`,
		Example:           `  rotator explain orders/db-password`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
	}
	var asJSON bool
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		page, err := operator.Explain(cmd, *path, args[0])
		switch {
		case err != nil:
			return err
		case asJSON:
			return cli.PrintJSON(cmd.OutOrStdout(), page)
		default:
			_, err = fmt.Fprint(cmd.OutOrStdout(), page)
			return err
		}
	}
	return cmd
}
