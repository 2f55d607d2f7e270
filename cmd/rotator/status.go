package main

import (
	"errors"
	"fmt"
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

The exit code is 1 when a secret cannot be read, is past its end, or is not
scheduled because of its tags.`,
		Example: `  rotator status --config docs/examples/single-node.yaml
  rotator status --json | jq '.[] | select(.safe_to_revoke.answer != "yes")'`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := operator.Secrets(cmd, *path, args)
			if err != nil {
				return operator.Unknown(err)
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
