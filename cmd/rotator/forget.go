package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/events"
)

func forgetCommand(path *string) *cobra.Command {
	var reason, incarnation string
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "forget SERVICE/INSTANCE --reason TEXT",
		Short: "Remove the records of an instance whose process is gone",
		Long: `Removes what an instance has recorded about itself and the secrets that it uses,
so that it keeps no old version any longer. An instance that is silent, and whose
users do not refuse past their fence, blocks until it is heard of, has ended, or
is forgotten: only a person can know that its process is gone.

Make sure of that first. A process that still runs after this may use a version
that is revoked. It records itself again when it reaches the bus.

The command shows what the instance used, and writes that, who asked and why in
the stream RECORD before it removes anything. An instance that is live is
forgotten only with --yes. Without --incarnation it is about all incarnations of
the instance, which is every process that had its name.`,
		Example: `  rotator status ORDERS_DB
  rotator forget orders-api/orders-api-7f3 --reason "node n4 was destroyed, OPS-1234"`,
		Args: cli.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			service, instance, ok := strings.Cut(args[0], "/")
			switch {
			case !ok || events.ValidToken(service) != nil || events.ValidToken(instance) != nil:
				return cli.UsageError{Err: fmt.Errorf("%q is not SERVICE/INSTANCE", args[0])}
			case reason == "":
				return cli.UsageError{Err: errors.New("--reason is required: say how you know that the process is gone")}
			}
			parts, err := operator.Connect(cmd, *path)
			if err != nil {
				return err
			}
			defer parts.Close()
			all, err := operator.ForgetInstance(cmd.Context(), parts, service, instance, operator.Reason{Incarnation: incarnation, Text: reason, Live: yes})
			if err != nil {
				return err
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), all)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is forgotten: %s\n", args[0], operator.Describe(all))
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "how you know that the process is gone; it is recorded")
	cmd.Flags().StringVar(&incarnation, "incarnation", "", "only this incarnation")
	cmd.Flags().BoolVar(&yes, "yes", false, "also if the instance is live")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}

func confirmFleetCommand(path *string) *cobra.Command {
	var reason string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "confirm-fleet --reason TEXT",
		Short: "Say that no instance is missing after the records of instances were lost",
		Long: `After the stream USES was lost it holds only the instances that have recorded
themselves since. One that is cut off, and whose users do not refuse past their
fence, is missing: 'rotator status' answers "unknown", and nothing that such users
may hold is retired.

Compare the instances that status shows with those that you run, and restart the
missing ones or make sure that they are gone. Then confirm. Who did so, when and
why is written in the stream RECORD.`,
		Example: `  rotator confirm-fleet --reason "all services were restarted after the bus was rebuilt, OPS-1234"`,
		Args:    cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reason == "" {
				return cli.UsageError{Err: errors.New("--reason is required: say how you know that no instance is missing")}
			}
			parts, err := operator.Connect(cmd, *path)
			if err != nil {
				return err
			}
			defer parts.Close()
			c, done, err := operator.ConfirmFleet(cmd.Context(), parts.Bus, parts.Source+"/"+operator.User(), reason)
			switch {
			case err != nil:
				return err
			case asJSON:
				return cli.PrintJSON(cmd.OutOrStdout(), c)
			case done:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "nothing to confirm: no records were lost since %s\n", c.Since.UTC().Format(time.RFC3339))
			default:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "confirmed: no instance is missing among the records since %s\n", c.Since.UTC().Format(time.RFC3339))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "how you know that no instance is missing; it is recorded")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}
