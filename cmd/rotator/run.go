package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/node"
)

func runCommand(path *string) *cobra.Command {
	var roles []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a single node, or take part in a cluster",
		Long: `With nats.url in the configuration, runs the scheduler and the worker on that
cluster; any number of processes may do so. Without it, runs a single node: an
embedded NATS server and store, scheduler, worker and notifier.

SIGTERM and Ctrl-C drain: no new rotation is begun, the steps in hand finish or
are handed back. SIGHUP loads the configuration again, as 'rotator reload' does.`,
		Example: `  rotator run --config docs/examples/single-node.yaml
  rotator run --config docs/examples/cluster.yaml --roles worker`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := cli.Load(cmd, *path)
			if err != nil {
				return err
			}
			if len(roles) == 0 {
				roles = node.DefaultRoles(cfg)
			}
			for _, r := range roles {
				if !slices.Contains(node.Roles(), r) {
					return cli.UsageError{Err: fmt.Errorf("--roles: %q is none of scheduler, worker and notifier", r)}
				}
			}
			if missing := node.Missing(cfg, roles); len(missing) > 0 {
				return cli.UsageError{Err: fmt.Errorf("--roles: a single node needs %s as well; leave the flag out, or set nats.url", strings.Join(missing, " and "))}
			}
			return node.Run(cmd.Context(), cfg, *path, roles)
		},
	}
	cmd.Flags().StringSliceVar(&roles, "roles", nil, "what to run: scheduler, worker, notifier (default scheduler,worker; on a single node all)")
	return cmd
}
