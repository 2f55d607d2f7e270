package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/view"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
)

func statusCommand(path *string) *cobra.Command {
	var asJSON, watch bool
	var every time.Duration
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

A store that does not answer is waited for once; what the bus knows of its secrets is
shown all the same. With --watch it shows a tree that is drawn again on a terminal;
elsewhere it prints what changes.

On the minority side of a cluster that is split it says that there is no quorum, and
shows what the stores say.

The exit code is 1 when there is no quorum, when a secret cannot be read, is past its
end, is not scheduled because of its tags, or when its rollout has stalled.`,
		Example: `  rotator status --config docs/examples/single-node.yaml
  rotator status --config docs/examples/single-node.yaml --json | jq '.[] | select(.safe_to_revoke.answer != "yes")'`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if watch {
				return watchStatus(cmd, *path, args, every)
			}
			all, lost := operator.Secrets(cmd, *path, args)
			if lost != nil && (all == nil || !errors.Is(lost, events.ErrNoQuorum)) {
				return lost
			}
			var err error
			if asJSON {
				err = cli.PrintJSON(cmd.OutOrStdout(), all)
			} else {
				err = view.Status(cmd.OutOrStdout(), all, time.Now())
			}
			return errors.Join(err, lost, unhealthy(all))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it until interrupted")
	cmd.Flags().DurationVar(&every, "interval", 2*time.Second, "how often --watch looks")
	cmd.MarkFlagsMutuallyExclusive("json", "watch")
	return cmd
}

// watchStatus shows secrets until the command is interrupted.
func watchStatus(cmd *cobra.Command, path string, args []string, every time.Duration) error {
	if every <= 0 {
		return cli.UsageError{Err: errors.New("--interval: give a time such as 2s")}
	}
	r, err := operator.OpenReader(cmd, path)
	if err != nil {
		return err
	}
	defer r.Close()
	out := view.NewWatch(cmd.OutOrStdout(), isTerminal(cmd.OutOrStdout()))
	for tick := time.Tick(every); ; {
		all, err := r.Secrets(cmd.Context(), args)
		switch {
		case cmd.Context().Err() != nil:
			return nil
		case errors.Is(err, events.ErrNoQuorum) && all != nil:
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %v\n", err)
		case err != nil:
			return err
		}
		if err := out.Show(all, time.Now()); err != nil {
			return err
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-tick:
		}
	}
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
