package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
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
			fleet, err := parts.Bus.Instance(cmd.Context(), service, instance, incarnation)
			if err != nil {
				return err
			}
			all := toForget(fleet, parts.Source+"/"+who(), reason, time.Now())
			if len(all) == 0 {
				return fmt.Errorf("no record of %s is stored", args[0])
			}
			if live := slices.ContainsFunc(all, func(f forgotten) bool { return f.State == rollout.InstanceLive }); live && !yes {
				return fmt.Errorf("%s is live: %s; give --yes to forget it nevertheless", args[0], describe(all))
			}
			if err := forget(cmd.Context(), parts.Bus, all, fleet.Seq); err != nil {
				return err
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), all)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is forgotten: %s\n", args[0], describe(all))
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "how you know that the process is gone; it is recorded")
	cmd.Flags().StringVar(&incarnation, "incarnation", "", "only this incarnation")
	cmd.Flags().BoolVar(&yes, "yes", false, "also if the instance is live")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}

// forgotten is an incarnation whose records are removed.
type forgotten struct {
	events.Forgotten

	State rollout.InstanceState `json:"state"`
}

// toForget returns the incarnations of an instance, in order.
func toForget(f events.Fleet, by, reason string, now time.Time) []forgotten {
	var all []forgotten
	for _, u := range f.Users {
		i := slices.IndexFunc(all, func(o forgotten) bool { return o.Incarnation == u.Use.Incarnation })
		if i < 0 {
			i = len(all)
			all = append(all, forgotten{State: rollout.StateOf(u, f.At), Forgotten: events.Forgotten{
				Service: u.Use.Service, Instance: u.Use.Instance, Incarnation: u.Use.Incarnation, By: by, Reason: reason, At: now, RenewedAt: u.RenewedAt, Used: []events.Use{},
			}})
		}
		if rollout.StateOf(u, f.At) == rollout.InstanceLive {
			all[i].State = rollout.InstanceLive
		}
		if u.Use.SecretID != "" {
			all[i].Used = append(all[i].Used, u.Use)
		}
	}
	slices.SortFunc(all, func(a, b forgotten) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
	return all
}

// describe says what the incarnations used, in one line.
func describe(all []forgotten) string {
	var out []string
	for _, f := range all {
		var used []string
		for _, u := range f.Used {
			used = append(used, fmt.Sprintf("%s %s", u.SecretID, shortID(u.VersionID)))
		}
		if used == nil {
			used = []string{"no secret"}
		}
		out = append(out, fmt.Sprintf("incarnation %s (%s) used %s", f.Incarnation, f.State, strings.Join(used, ", ")))
	}
	return strings.Join(out, "; ")
}

// forget records what is removed, and removes it.
func forget(ctx context.Context, bus *events.Bus, all []forgotten, upTo uint64) error {
	for _, f := range all {
		if err := bus.RecordForgotten(ctx, f.Forgotten); err != nil {
			return err
		}
		ids := make([]secret.ID, 0, len(f.Used))
		for _, u := range f.Used {
			ids = append(ids, u.SecretID)
		}
		err := bus.Forget(ctx, f.Service, f.Instance, f.Incarnation, ids, upTo)
		if errors.Is(err, events.ErrConflict) {
			return fmt.Errorf("%w: its process runs; run the command again if you want it forgotten nevertheless", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
			c, done, err := confirmFleet(cmd.Context(), parts.Bus, parts.Source+"/"+who(), reason)
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

// confirmFleet confirms the stream of uses, unless that was done before.
func confirmFleet(ctx context.Context, bus *events.Bus, by, reason string) (c events.Confirmation, done bool, err error) {
	since, last, err := bus.Confirmed(ctx)
	if err != nil || since.Equal(last.Since) {
		return last, true, err
	}
	c = events.Confirmation{Since: since, By: by, Reason: reason, At: time.Now()}
	return c, false, bus.ConfirmFleet(ctx, c)
}
