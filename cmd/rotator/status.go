package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/view"
	"github.com/tradepulse/rotator/pkg/inspect"
)

func statusCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [ID...]",
		Short: "Show every secret: its version, when it rotates, and who does not run it yet",
		Long: `Reads the stores and the bus and shows, per secret, the current version, its
age, when it rotates and why, where its rollout is, every instance that does not
run the current version, and whether the versions before it are safe to revoke;
then what is wrong with the tags of secrets. It changes nothing.

Safe to revoke is "yes" when no instance uses or accepts an older version, "no"
while one may, and "unknown" when records of instances were lost. A silent
instance is one that has neither renewed its presence nor said that it has ended:
if you know that its process is gone, have it forgotten with 'rotator forget'.

The exit code is 1 when a secret cannot be read, is past its end, is not
scheduled because of its tags, or has a rollout that stalled.`,
		Example: `  rotator status --config docs/examples/single-node.yaml
  rotator status --config docs/examples/single-node.yaml --json | jq '.[] | select(.safe_to_revoke.answer != "yes")'`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := operator.Secrets(cmd, *path, args, false)
			if err != nil {
				return err
			}
			if asJSON {
				err = cli.PrintJSON(cmd.OutOrStdout(), all)
			} else {
				err = view.Status(cmd.OutOrStdout(), all, time.Now())
			}
			return errors.Join(err, unhealthy(all))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}

func planCommand(path *string) *cobra.Command {
	var asJSON bool
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "plan [ID...]",
		Short: "Show what would rotate when, why, and whom it concerns",
		Long: `Decides for every secret what the scheduler would decide now, and shows what
rotates within the given time, with the services and instances that will have to
reload: first those of the configuration, then those that are discovered in the
stores, and what is wrong with the tags of either. WAIT is how long a version
outlives the promotion of its successor at least: the longest of grace period,
lease and floor. It reads the current values to find rotations that will be
refused, such as that of a document. It changes nothing.`,
		Example:           "  rotator plan --within 7d --config docs/examples/cluster.yaml",
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := operator.Secrets(cmd, *path, args, true)
			if err != nil {
				return err
			}
			now := time.Now()
			if within != 0 {
				all = slices.DeleteFunc(all, func(s inspect.Secret) bool { return !s.MayRotateBefore(now.Add(within)) })
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), all)
			}
			return view.Plan(cmd.OutOrStdout(), all, now)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	cmd.Flags().Var((*cli.Duration)(&within), "within", "only what rotates within this time (default: everything)")
	return cmd
}

// unhealthy returns an error when secrets need attention.
func unhealthy(all []inspect.Secret) error {
	n := 0
	for _, s := range all {
		if s.NeedsAttention() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d secrets need attention", n, len(all))
}
